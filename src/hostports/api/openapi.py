"""The API's description for programs (OpenAPI 3.1), made of the table of routes."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from hostports.api import patterns, schema
from hostports.api.decode import described
from hostports.api.errors import TOLD, TOO_LARGE
from hostports.api.route import Carrier, Media, Route
from hostports.errors import Kind

Json: TypeAlias = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{name}"
_NAME: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": patterns.NAME},
}
#: What may go wrong with any request, and what else with one that changes something.
_ALWAYS: Final = (Kind.UNUSABLE, Kind.NOT_PERMITTED, Kind.FAILED)
_CHANGING: Final = (Kind.CONFLICT, Kind.EXHAUSTED)


def document(routes: Sequence[Route[Any]], version: str) -> Json:
    """The description of routes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hostports",
            "description": "Publishes ports of anything that has an IP address.",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "HTTP/1.1 on the daemon's Unix socket"}],
        "paths": _paths(routes),
        "components": {"schemas": _components(routes)},
    }


def _paths(routes: Iterable[Route[Any]]) -> Json:
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route[Any]) -> Json:
    operation: Json = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
    }
    if route.carrier is Carrier.BODY:
        operation["requestBody"] = {"required": True, "content": _content(Media.JSON, route.asks)}
    return operation


def _parameters(route: Route[Any]) -> Iterable[Json]:
    if route.named:
        yield _NAME
    if route.carrier is Carrier.QUERY:
        properties = _schemas([route.asks])[route.asks.__name__]["properties"]
        for name, shape in properties.items():
            yield {"name": name, "in": "query", "required": False, "schema": shape}


def _responses(route: Route[Any]) -> Json:
    success: Json = {"description": route.summary}
    if route.status is not HTTPStatus.NO_CONTENT:
        success["content"] = _content(route.media, route.answer)
    refused = {each.status: each for each in (*map(TOLD.__getitem__, _kinds(route)), TOO_LARGE)}
    return {str(int(route.status)): success} | {
        str(int(status)): {
            "description": told.code,
            "content": _content(Media.JSON, schema.Refusal),
        }
        for status, told in sorted(refused.items())
    }


def _kinds(route: Route[Any]) -> Iterable[Kind]:
    yield from _ALWAYS
    if route.named or "endpoint" in described(route.asks):
        yield Kind.NOT_FOUND
    if route.changes:
        yield from _CHANGING


def _content(media: Media, of: type | None) -> Json:
    shape: Json = {"type": "string" if media is Media.TEXT else "object"}
    if of is not None:
        shape = {"$ref": _REFERENCE.format(name=of.__name__)}
    return {media.essence: {"schema": shape}}


def _components(routes: Iterable[Route[Any]]) -> Json:
    bodies = {route.asks for route in routes if route.carrier is Carrier.BODY}
    answers = {route.answer for route in routes if route.answer is not None}
    found = _schemas(sorted({*bodies, *answers, schema.Refusal}, key=lambda each: each.__name__))
    for of, alternatives in schema.ONE_OF.items():
        found[of.__name__]["oneOf"] = alternatives
    return found


def _schemas(types: Iterable[type]) -> Json:
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    return components

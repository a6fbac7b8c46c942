"""All routes, as the table from which the application and its description are made."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from hostports.api import handlers, openapi, schema
from hostports.api.decode import decoded, from_query
from hostports.api.errors import MOST_BYTES, documented
from hostports.api.route import Answered, Call, Carrier, Media, Route, Serving
from hostports.api.service import Service
from hostports.api.stream import CLOSING, stream
from hostports.errors import UnusableValue
from hostports.model.published import ALL_WAYS, Ways


async def describe(call: Call[schema.Nothing]) -> bytes:
    """The table below, as OpenAPI has it."""
    return msgspec.json.encode(openapi.document(ROUTES, call.serving.version))


#: Each asks something else, which is the business of its handler alone.
ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        "GET",
        "/v1/networks",
        "All networks",
        handlers.list_networks,
        answer=schema.Networks,
    ),
    Route(
        "POST",
        "/v1/networks",
        "Create a network",
        handlers.create_network,
        asks=schema.CreateNetwork,
        carrier=Carrier.BODY,
        answer=schema.Network,
        status=HTTPStatus.CREATED,
    ),
    Route(
        "GET",
        "/v1/networks/{name}",
        "A network",
        handlers.inspect_network,
        answer=schema.Network,
    ),
    Route(
        "DELETE",
        "/v1/networks/{name}",
        "Remove a network",
        handlers.remove_network,
        asks=schema.RemoveNetwork,
        status=HTTPStatus.NO_CONTENT,
    ),
    Route(
        "GET",
        "/v1/networks/{name}/endpoints",
        "The endpoints of a network",
        handlers.list_network_endpoints,
        answer=schema.Endpoints,
    ),
    Route(
        "POST",
        "/v1/networks/{name}/endpoints",
        "Add an endpoint",
        handlers.add_endpoint,
        asks=schema.AddEndpoint,
        carrier=Carrier.BODY,
        answer=schema.Endpoint,
        status=HTTPStatus.CREATED,
    ),
    Route(
        "GET",
        "/v1/endpoints",
        "All endpoints",
        handlers.list_endpoints,
        answer=schema.Endpoints,
    ),
    Route(
        "GET",
        "/v1/endpoints/{name}",
        "An endpoint",
        handlers.inspect_endpoint,
        answer=schema.Endpoint,
    ),
    Route(
        "DELETE",
        "/v1/endpoints/{name}",
        "Unpublish an endpoint's ports and remove it",
        handlers.remove_endpoint,
        status=HTTPStatus.NO_CONTENT,
    ),
    Route(
        "GET",
        "/v1/endpoints/{name}/ports",
        "What an endpoint has published",
        handlers.list_endpoint_ports,
        answer=schema.Bindings,
    ),
    Route(
        "POST",
        "/v1/endpoints/{name}/ports",
        "Publish ports, all or none",
        handlers.publish_ports,
        asks=schema.PublishPorts,
        carrier=Carrier.BODY,
        answer=schema.Published,
        status=HTTPStatus.CREATED,
    ),
    Route(
        "DELETE",
        "/v1/endpoints/{name}/ports",
        "Take ports back",
        handlers.unpublish_ports,
        asks=schema.UnpublishPorts,
        carrier=Carrier.BODY,
        answer=schema.Bindings,
    ),
    Route(
        "POST",
        "/v1/plan",
        "What publishing would do",
        handlers.plan_ports,
        asks=schema.PlanPorts,
        carrier=Carrier.BODY,
        answer=schema.Plan,
    ),
    Route(
        "GET",
        "/v1/ports",
        "Everything that is published",
        handlers.list_ports,
        answer=schema.Bindings,
    ),
    Route(
        "GET",
        "/v1/events",
        "What happens from now on, a line each",
        handlers.watch,
        answer=schema.Event,
        media=Media.LINES,
    ),
    Route(
        "POST",
        "/v1/ui",
        "Serve a web page, until the answer is no longer read",
        handlers.open_page,
        asks=schema.OpenPage,
        carrier=Carrier.BODY,
        answer=schema.Page,
        media=Media.LINES,
    ),
    Route(
        "DELETE",
        "/v1/ui",
        "Take all web pages off",
        handlers.end_pages,
        status=HTTPStatus.NO_CONTENT,
    ),
    Route(
        "POST",
        "/v1/reload",
        "Make the firewall anew",
        handlers.reload,
        status=HTTPStatus.NO_CONTENT,
    ),
    Route(
        "GET",
        "/v1/doctor",
        "What keeps published ports from being reached",
        handlers.doctor,
        answer=schema.Findings,
    ),
    Route(
        "POST",
        "/v1/trace",
        "The way of a real packet to a port, a sentence a line",
        handlers.trace,
        asks=schema.Trace,
        carrier=Carrier.BODY,
        answer=schema.Told,
        media=Media.LINES,
    ),
    Route(
        "GET",
        "/v1/health",
        "That the daemon answers",
        handlers.health,
        answer=schema.Health,
    ),
    Route(
        "GET",
        "/v1/openapi.json",
        "This description",
        describe,
    ),
    Route(
        "GET",
        "/metrics",
        "Figures for Prometheus",
        handlers.expose_metrics,
        media=Media.TEXT,
    ),
)


def application(service: Service, version: str, ways: Ways = ALL_WAYS) -> web.Application:
    """What serves a service; `ways` are those by which ports can be reached."""
    made = web.Application(middlewares=[documented], client_max_size=MOST_BYTES + 1)
    made[CLOSING] = asyncio.Event()
    made.on_shutdown.append(_close)
    serving = Serving(service, version, ways)
    for route in ROUTES:
        handler = _handler(route, serving)
        made.router.add_route(route.method, route.path, handler)
        if route.method == "GET" and route.media is not Media.LINES:
            made.router.add_route("HEAD", route.path, handler)
    return made


async def _close(closed: web.Application) -> None:
    closed[CLOSING].set()


def _handler(route: Route[Any], serving: Serving) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if route.carrier is Carrier.BODY:
            from_query(request.query.items(), schema.Nothing)
            asked = decoded(body, route.asks)
        else:
            asked = from_query(request.query.items(), route.asks)
        name = request.match_info.get("name", "")
        async with AsyncExitStack() as afterwards:
            answer = await route.handler(Call(serving, name, asked, afterwards))
            return await _answer(request, route, answer)

    return handle


async def _body(request: web.Request) -> bytes:
    """All that was sent, also where nobody asks for it: what is too large is refused anywhere."""
    if (request.content_length or 0) > MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(MOST_BYTES, request.content_length or 0)
    try:
        body = await request.read()
    except (web.RequestPayloadError, OSError) as error:
        raise UnusableValue(
            "request body", "it breaks off, or isn't encoded as its headers say", "send it again"
        ) from error
    if len(body) > MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(MOST_BYTES, len(body))
    return body


async def _answer(request: web.Request, route: Route[Any], answer: Answered) -> web.StreamResponse:
    if isinstance(answer, AsyncGenerator):
        return await stream(request, answer, route.media.value)
    if answer is None:
        return web.Response(status=route.status)
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    return web.Response(body=body, status=route.status, headers={"Content-Type": route.media.value})

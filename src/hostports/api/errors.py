"""Which status and code an error has, and the document that tells of it."""

import logging
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from hostports.api.schema import Code, Error, Refusal
from hostports.errors import HostportsError, Kind, quoted

#: Bytes of the largest body that is read.
MOST_BYTES: Final = 4 << 20


class Told(NamedTuple):
    """How an error is told: its status, and its code for programs."""

    status: HTTPStatus
    code: Code


TOLD: Final = {
    Kind.UNUSABLE: Told(HTTPStatus.BAD_REQUEST, "unusable_input"),
    Kind.NOT_PERMITTED: Told(HTTPStatus.FORBIDDEN, "not_permitted"),
    Kind.NOT_FOUND: Told(HTTPStatus.NOT_FOUND, "not_found"),
    Kind.CONFLICT: Told(HTTPStatus.CONFLICT, "conflict"),
    Kind.FAILED: Told(HTTPStatus.INTERNAL_SERVER_ERROR, "failed"),
    Kind.EXHAUSTED: Told(HTTPStatus.INSUFFICIENT_STORAGE, "no_port_free"),
}
#: What HTTP itself refuses, before anybody of ours is asked.
TOO_LARGE: Final = Told(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
_BY_STATUS: Final[dict[int, Code]] = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
}

_log: Final = logging.getLogger("hostports.api")


@web.middleware
async def documented(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the error document, whatever goes wrong."""
    try:
        return await handler(request)
    except HostportsError as error:
        return _of_ours(request, error)
    except web.HTTPException as error:
        return _of_http(request, error)
    except Exception:  # whatever it is, the daemon goes on
        _log.exception("%s %s failed", request.method, quoted(request.path))
        return _answer(
            TOLD[Kind.FAILED], "the daemon failed in a way nobody foresaw", "see its log, report it"
        )


def _of_ours(request: web.Request, error: HostportsError) -> web.Response:
    notes = getattr(error, "__notes__", [])
    if notes or error.kind is Kind.FAILED:
        told = "; ".join([str(error), *notes])
        _log.error("%s %s: %s", request.method, quoted(request.path), told)
    return _answer(TOLD[error.kind], error.message, error.hint)


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    allowed = error.headers.get(hdrs.ALLOW, "")
    message, hint = {
        HTTPStatus.NOT_FOUND: (
            f"there is nothing at {quoted(request.path)}",
            "see GET /v1/openapi.json",
        ),
        HTTPStatus.METHOD_NOT_ALLOWED: (
            f"{request.method} is not allowed at {quoted(request.path)}",
            f"use {allowed}",
        ),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
            f"the body is larger than {MOST_BYTES >> 20} MiB",
            "send less at once",
        ),
    }.get(HTTPStatus(error.status), (error.reason, ""))
    code: Code = "failed" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "unusable_input"
    told = Told(HTTPStatus(error.status), _BY_STATUS.get(error.status, code))
    return _answer(told, message, hint, {hdrs.ALLOW: allowed} if allowed else {})


def _answer(
    told: Told, message: str, hint: str, headers: dict[str, str] | None = None
) -> web.Response:
    refusal = Refusal(error=Error(code=told.code, message=message, hint=hint))
    return web.Response(
        body=msgspec.json.encode(refusal),
        status=told.status,
        content_type="application/json",
        headers=headers,
    )

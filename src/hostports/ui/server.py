"""The page over HTTP: a document, and a stream of samples for as long as somebody looks."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from hostports.ui.audience import Audience
from hostports.ui.document import Document
from hostports.ui.guard import Asked, objection

#: Connections at once, many more than anybody's tabs have. Those that asyncio accepts in one turn,
#: again a hundred, may be added.
_MOST_CONNECTIONS: Final = 100
#: Streams get so many seconds to end by themselves, which they never do.
_PARTING_S: Final = 0.1
#: Said with every answer: it is kept nowhere, and nobody else may have it or learn its URL.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "hostports",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def serve(
    listener: socket.socket,
    page: Document,
    token: str,
    audience: Audience,
    end: Awaitable[None],
) -> None:
    """Serve the page on a listening socket until `end`."""
    made = _application(page, token, audience)
    # A viewer who hangs up is noticed at once, not when there is something to write.
    runner = web.AppRunner(
        made, access_log=None, handler_cancellation=True, shutdown_timeout=_PARTING_S
    )
    await runner.setup()
    assert runner.server  # noqa: S101 - it is there once set up
    server = await asyncio.get_running_loop().create_server(_limited(runner.server), sock=listener)
    try:
        await end
    finally:
        server.close()
        await runner.cleanup()


def _application(page: Document, token: str, audience: Audience) -> web.Application:
    async def show_page(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": page.policy}
        return web.Response(text=page.html, content_type="text/html", headers=headers)

    async def stream_samples(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async with aclosing(audience.watch()) as lines:
            async for line in lines:
                await response.write(line)
        return response

    made = web.Application(middlewares=[_guarded(token)])
    made.on_response_prepare.append(_add_headers)
    made.router.add_get("/", show_page, allow_head=False)
    made.router.add_get("/samples", stream_samples, allow_head=False)
    return made


def _guarded(token: str) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if refused := objection(_asked(request), token):
            return web.Response(text=f"{refused.why}\n", status=refused.status)
        return await handler(request)

    return guard


def _asked(request: web.Request) -> Asked:
    said = request.headers
    return Asked(
        method=request.method,
        peer=request.remote or "",
        host=said.get(hdrs.HOST, ""),
        origin=said.get(hdrs.ORIGIN, ""),
        site=said.get("Sec-Fetch-Site", ""),
        authorization=said.get(hdrs.AUTHORIZATION, ""),
        token=request.query.get("token", ""),
    )


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _limited(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Connections up to a number; one that is one too many is closed."""

    def accept() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < _MOST_CONNECTIONS else _Unwelcome()

    return accept


class _Unwelcome(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is one of TCP
        transport.abort()

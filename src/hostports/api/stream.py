"""Lines of JSON as they come, for as long as somebody reads them."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from aiohttp import web

from hostports.api.schema import Answer
from hostports.errors import quoted

#: Whether a client has hung up that nothing is written to is seen so many seconds later.
_GLANCE_S: Final = 0.5
#: Last bytes have so many seconds to leave when the application shuts down.
_PARTING_S: Final = 1.0

CLOSING: Final = web.AppKey("closing", asyncio.Event)

_log: Final = logging.getLogger("hostports.api")


async def stream(
    request: web.Request, lines: AsyncGenerator[Answer, None], media: str
) -> web.StreamResponse:
    """Write lines until there are no more, the client hangs up, or the application shuts down.

    A line is asked for when the one before has left: a slow reader makes nothing pile up here.
    """
    response = web.StreamResponse(headers={"Content-Type": media})
    writing = asyncio.create_task(_write(request, response, lines))
    closing = asyncio.create_task(request.app[CLOSING].wait())
    try:
        while not writing.done() and not closing.done() and not _gone(request):
            await asyncio.wait(
                {writing, closing}, timeout=_GLANCE_S, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        closing.cancel()
        writing.cancel()
        await asyncio.wait({writing})
    await _part(request, response, writing)
    return response


async def _write(
    request: web.Request, response: web.StreamResponse, lines: AsyncGenerator[Answer, None]
) -> None:
    await response.prepare(request)
    # Nothing waits in between: who has the headers misses no line.
    async with aclosing(lines):
        async for line in lines:
            await response.write(msgspec.json.encode(line) + b"\n")


async def _part(
    request: web.Request, response: web.StreamResponse, writing: asyncio.Task[None]
) -> None:
    """End the stream properly, or, where that can't be, so that the reader notices."""
    failure = None if writing.cancelled() else writing.exception()
    if failure is not None:
        if not isinstance(failure, ConnectionError):
            _log.error("the stream at %s broke off", quoted(request.path), exc_info=failure)
        return _hang_up(request)
    if not response.prepared:  # we closed before it began
        return None
    try:
        async with asyncio.timeout(_PARTING_S):
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        _hang_up(request)


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

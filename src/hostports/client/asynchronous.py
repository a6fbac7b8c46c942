"""The client for asyncio programs."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Final

from hostports.client.calls import Calls
from hostports.client.http import Answer, Documents, Json, request
from hostports.client.sync import RECEIVED, hung_up, unreachable

#: No event tells when a Unix socket's backlog has room again.
_BACKLOG_RETRY_S: Final = 0.01


class AsyncClient(Calls[Awaitable[Json]]):
    """As `Client`, with calls to await; tasks may share one."""

    def events(self) -> AsyncIterator[Json]:
        """What happens from the first iteration on; it ends when the daemon stops."""
        return self._streamed(request("GET", "/v1/events"))

    def page(self, port: int = 0) -> AsyncIterator[Json]:
        """A web page, served from the first iteration to the last: ``{"url": ...}``."""
        return self._streamed(request("POST", "/v1/ui", {"port": port}))

    def trace(self, port: int, **options: object) -> AsyncIterator[Json]:
        """The way of a real packet to a host port, as of `Client`."""
        return self._streamed(request("POST", "/v1/trace", {"port": port, **options}))

    async def _streamed(self, message: bytes) -> AsyncIterator[Json]:
        documents = Documents()
        async with self._sent(message) as connection:
            answer = Answer()
            while not answer.complete:
                answer.feed(await _received(connection))
                if answer.status == 200:
                    for document in documents.feed(answer.take()):
                        yield document
            if answer.status != 200:
                answer.document()

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        async with self._sent(request(method, path, body)) as connection:
            answer = Answer()
            while not answer.complete:
                answer.feed(await _received(connection))
        return answer.document()

    @asynccontextmanager
    async def _sent(self, message: bytes) -> AsyncIterator[socket.socket]:
        """A connection over which a request went."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(0)
            await _connect(connection, self.socket)
            with suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(connection, message)
            yield connection


async def _connect(connection: socket.socket, path: str) -> None:
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:  # the backlog is full; asyncio would take that for success
            await asyncio.sleep(_BACKLOG_RETRY_S)
        except OSError as error:
            raise unreachable(path, error) from None


async def _received(connection: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(connection, RECEIVED)
    except OSError as error:
        return hung_up(error)

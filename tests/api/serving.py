"""The application on a socket of its own, in a thread, and a client that shows all of an answer."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from hostports.api.routes import application
from hostports.model.published import ALL_WAYS, Ways
from tests.api.fake_service import FakeService

Json: TypeAlias = dict[str, Any]

VERSION = "1.2.3"
#: Seconds that nothing here takes, however busy the machine is.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def document(self) -> Json:
        """The body's JSON object."""
        document: Json = json.loads(self.body)
        return document

    @property
    def code(self) -> str:
        """Of an error; that it has all three parts is looked at by the way."""
        error = self.document["error"]
        assert set(error) == {"code", "message", "hint"}
        assert "\n" not in error["message"] + error["hint"]
        return str(error["code"])

    @property
    def message(self) -> str:
        return str(self.document["error"]["message"])

    @property
    def hint(self) -> str:
        return str(self.document["error"]["hint"])


@dataclass(frozen=True)
class Api:
    """A served service."""

    service: FakeService
    address: tuple[str, int]
    loop: asyncio.AbstractEventLoop
    runner: web.AppRunner

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def call(
        self, method: str, path: str, document: object = None, *, body: bytes | None = None
    ) -> Answer:
        """Send a request: a document as JSON, or a body as it is."""
        if document is not None:
            body = json.dumps(document).encode()
        with closing(http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def made(self, path: str, document: object) -> Json:
        """What a POST made."""
        answer = self.call("POST", path, document)
        assert answer.status == 201, answer.body
        return answer.document

    def connect(self) -> socket.socket:
        """A connection for bytes of one's own."""
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def soon(self, act: Callable[[], object]) -> None:
        """Do something on the loop's thread."""
        self.loop.call_soon_threadsafe(act)

    def settle(self) -> None:
        """Wait until the server knows that its clients have gone: it stops late otherwise."""
        end = time.monotonic() + 2
        while self.runner.server and self.runner.server.connections and time.monotonic() < end:
            time.sleep(0.002)

    def stop(self) -> None:
        """Shut the application down, as the daemon does."""
        asyncio.run_coroutine_threadsafe(_stop(self.runner), self.loop).result(PATIENCE_S)


@contextmanager
def serving(*, ways: Ways = ALL_WAYS, path: Path | None = None) -> Iterator[Api]:
    """Serve a new fake on a port of loopback, and at a path, until the block ends."""
    service = FakeService()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = web.AppRunner(application(service, VERSION, ways), access_log=None)
    try:
        start = _start(runner, path)
        address = asyncio.run_coroutine_threadsafe(start, loop).result(PATIENCE_S)
        api = Api(service, address, loop, runner)
        yield api
        api.settle()
        api.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(runner: web.AppRunner, path: Path | None) -> tuple[str, int]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    if path is not None:
        await web.UnixSite(runner, path).start()
    host, port = runner.addresses[0][:2]
    return host, port


async def _stop(runner: web.AppRunner) -> None:
    await runner.cleanup()
    # Handlers whose clients have gone are none of aiohttp's concern any more, but end, too.
    if rest := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(rest, timeout=PATIENCE_S)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)

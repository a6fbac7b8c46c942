"""A small HTTP server on a Unix socket, in a thread: it records requests, with canned answers."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

Json = dict[str, Any]

#: As long as tests wait for what should come.
PATIENCE_S: Final = 20.0


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass(frozen=True)
class Reply:
    """What goes back: pieces of bytes, and then the end, or silence if it is `held`.

    It waits for its `gate`, but not longer than `after` seconds.
    """

    pieces: Sequence[bytes]
    held: bool = False
    gate: Event | None = None
    after: float = PATIENCE_S


def answer(document: Json | None = None, status: int = 200) -> Reply:
    """An answer with a JSON document, or without a body."""
    if document is None:
        return Reply([b"HTTP/1.1 204 No Content\r\n\r\n"])
    content = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(content)}\r\n\r\n"
    return Reply([head.encode() + content])


def refusal(status: int, code: str, message: str = "no", hint: str = "try another") -> Reply:
    """An answer with an error document."""
    return answer({"error": {"code": code, "message": message, "hint": hint}}, status)


def stream(documents: Sequence[Json], *, ended: bool = True) -> Reply:
    """An answer of one JSON document a line, each a chunk; not `ended` goes on in silence."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [json.dumps(each).encode() + b"\n" for each in documents]
    chunks = [b"%x\r\n%b\r\n" % (len(line), line) for line in lines]
    return Reply([head, *chunks, *([b"0\r\n\r\n"] if ended else [])], held=not ended)


class FakeServer:
    """Answers as told, by method and path; anything else is not found.

    Several replies to one request are given in turn, the last again and again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._replies: dict[str, list[Reply]] = {}
        self._stopping = Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [Thread(target=self._accept)]

    def on(self, request: str, *replies: Reply) -> None:
        """Reply to a request, as ``GET /v1/ports``."""
        self._replies[request] = list(replies)

    @property
    def asked(self) -> list[str]:
        """The requests so far, as `on` takes them."""
        return [f"{each.method} {each.path}" for each in self.requests]

    @contextmanager
    def serving(self) -> Iterator["FakeServer"]:
        """Serve in a `with` block."""
        self._threads[0].start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(PATIENCE_S)
            self._listener.close()
            self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            thread = Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(BrokenPipeError, ConnectionResetError):
            request = _read(connection)
            if request is None:
                return
            self.requests.append(request)
            reply = self._reply(f"{request.method} {request.path}")
            if reply.gate:
                reply.gate.wait(reply.after)
            for piece in reply.pieces:
                connection.sendall(piece)
            if reply.held:
                _wait_for_hang_up(connection, self._stopping)

    def _reply(self, request: str) -> Reply:
        replies = self._replies.get(request)
        if not replies:
            return refusal(404, "not_found", f"nothing was told about {request}")
        return replies.pop(0) if len(replies) > 1 else replies[0]


def _read(connection: socket.socket) -> Request | None:
    """A request; None from whoever only connects."""
    with connection.makefile("rb") as incoming:
        line = incoming.readline().decode().split()
        if not line:
            return None
        headers = {}
        while header := incoming.readline().decode().strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        content = incoming.read(int(headers.get("content-length", "0")))
        return Request(line[0], line[1], headers, json.loads(content) if content else None)


def _wait_for_hang_up(connection: socket.socket, stopping: Event) -> None:
    connection.settimeout(0.05)
    while not stopping.is_set():
        with suppress(TimeoutError):
            if not connection.recv(1):
                return


@contextmanager
def serving(path: Path) -> Iterator[FakeServer]:
    """A server at a path for a `with` block."""
    with FakeServer(path).serving() as server:
        yield server


@contextmanager
def silent(path: Path) -> Iterator[None]:
    """A socket that takes connections, and nobody who says anything: as systemd has it at first."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield

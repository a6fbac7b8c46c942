"""The client for programs that wait."""

import os
import socket
from contextlib import suppress
from struct import pack
from types import TracebackType
from typing import Final

from hostports.client.calls import Calls
from hostports.client.errors import BadAnswer, DaemonSilent, DaemonUnreachable, SocketForbidden
from hostports.client.http import Answer, Documents, Json, request

#: Bytes to receive at once; a Unix socket's buffer is some 200 KiB.
RECEIVED: Final = 1 << 17
#: Seconds of silence that a program bears which others wait for. No honest work takes so long,
#: thousands of ports being a matter of seconds, and the kubelet gives up after two minutes.
PATIENCE_S: Final = 100.0


class Client(Calls[Json]):
    """Talks to the daemon at `socket`, which is $HOSTPORTS_SOCKET or the usual path if left out.

    Each call has a connection of its own, so that threads may share a client. With `patience_s`
    a call raises `DaemonSilent` after so many seconds in which the daemon took or said nothing,
    which is no sign of what has become of it; without, as for streams, it waits for ever.
    """

    def __init__(
        self, socket: str | os.PathLike[str] | None = None, *, patience_s: float | None = None
    ) -> None:
        super().__init__(socket)
        self._patience_s = patience_s

    def events(self) -> "Events":
        """What happens from now on."""
        return self._streamed(request("GET", "/v1/events"))

    def page(self, port: int = 0) -> "Events":
        """A web page on a port of loopback, served until this is closed: ``{"url": ...}``."""
        return self._streamed(request("POST", "/v1/ui", {"port": port}))

    def trace(self, port: int, **options: object) -> "Events":
        """The way of a real packet to a host port: ``{"sentence": ...}``, until there is no more.

        `options` are `address`, `protocol`, `seconds` to wait, and `probe`: whether to send one.
        """
        return self._streamed(request("POST", "/v1/trace", {"port": port, **options}))

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        seconds, answer = self._patience_s or 0, Answer()
        try:
            with self._sent(request(method, path, body), seconds) as connection:
                while not answer.complete:
                    answer.feed(_received(connection))
        except BlockingIOError:
            raise DaemonSilent(self.socket, seconds) from None
        return answer.document()

    def _streamed(self, message: bytes) -> "Events":
        connection = self._sent(message)
        try:
            return Events(connection)
        except BaseException:
            connection.close()
            raise

    def _sent(self, message: bytes, seconds: float = 0) -> socket.socket:
        """A connection over which a request went, and which waits so long for each step."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _limit(connection, seconds)
            _connect(connection, self.socket)
            # A server that refuses a long request hangs up early; its answer can be read still.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(message)
        except BaseException:
            connection.close()
            raise
        return connection


class Events:
    """What the daemon tells, as it happens: JSON objects; a context manager that hangs up.

    It ends when the daemon stops. Raises `ApiError` or `BadAnswer`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answer = Answer()
        self._documents = Documents()
        self._waiting: list[Json] = []
        while not self._answer.status:
            self._answer.feed(_received(connection))
        if self._answer.status != 200:
            while not self._answer.complete:
                self._answer.feed(_received(connection))
            self._answer.document()

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> Json:
        while not self._waiting:
            self._waiting = self._documents.feed(self._answer.take())
            if self._waiting:
                break
            if self._answer.complete:
                self.close()
                raise StopIteration
            self._answer.feed(_received(self._connection))
        return self._waiting.pop(0)

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _limit(connection: socket.socket, seconds: float) -> None:
    """Let the kernel limit how long each call waits, 0 being for ever (socket(7)).

    Python's own limit would make a full backlog an error at once.
    """
    limit = pack("ll", int(seconds), int(seconds % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _connect(connection: socket.socket, path: str) -> None:
    try:
        connection.connect(path)
    except BlockingIOError:  # the backlog was full all the time
        raise
    except OSError as error:
        raise unreachable(path, error) from None


def unreachable(path: str, error: OSError) -> DaemonUnreachable | SocketForbidden:
    """What an error of connect(2) means."""
    if isinstance(error, PermissionError):
        return SocketForbidden(path)
    return DaemonUnreachable(path, (error.strerror or str(error)).lower())


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(RECEIVED)
    except BlockingIOError:  # nothing has come
        raise
    except OSError as error:
        return hung_up(error)


def hung_up(error: OSError) -> bytes:
    """What an error of recv(2) means: a server that hangs up unread sends a reset."""
    if isinstance(error, ConnectionResetError):
        return b""
    raise BadAnswer((error.strerror or str(error)).lower()) from error

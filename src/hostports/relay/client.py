"""The daemon's side of the control channel."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from hostports.errors import RelayFailed, ReleaseFailed
from hostports.interfaces import RelayedBinding
from hostports.model.port import PortBinding
from hostports.model.relay import HeldBinding
from hostports.relay import wire
from hostports.relay.wire import Assembly, Frame, Kind

#: Seconds without a word after which a relay counts as hung: with much to do, and with little.
_PATIENCE_S: Final = 60.0
_QUICK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """Which version of the control protocol a relay speaks, and its process."""

    version: int
    pid: int

    @property
    def understood(self) -> bool:
        """Whether we speak the same; with another one a relay can only be retired."""
        return self.version == wire.VERSION


class RelayClient:
    """`Relay`, by the control socket of a relay process; from any thread, one call at a time.

    It connects when it is first used, and again after a failure. Whether a call that failed on its
    way was obeyed, `held` tells.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the relay goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hello(self) -> Greeting:
        """Who is there; any version answers."""
        result = self._ask(Kind.HELLO)
        return Greeting(result["version"], result["pid"])

    def retire(self, seconds: float) -> list[socket.socket]:
        """Take a relay's sockets, of any version; it ends with its last connection.

        That is after so many seconds at the latest. Clients that come meanwhile wait in the sockets
        for whoever serves them next. The control path is free for another relay.
        """
        with self._lock:
            answer = self._answered(Frame(Kind.RETIRE, {"seconds": seconds}))
            self.close()
            given = [socket.socket(fileno=each) for each in answer.descriptors]
            answer.descriptors.clear()
        return given

    def add(self, bindings: Sequence[RelayedBinding]) -> None:
        """Serve all of them, each on a copy of its descriptor, or raise `RelayFailed` and none."""
        packed = wire.packed_bindings([each.binding for each in bindings])
        self._ask(Kind.ADD, {"bindings": packed}, [each.fileno for each in bindings])

    def remove(self, bindings: Sequence[PortBinding]) -> None:
        """Stop serving them, going on after errors; raises `ReleaseFailed` with all of these."""
        self._ask(Kind.REMOVE, {"bindings": wire.packed_bindings(bindings)})

    def drain(self, bindings: Sequence[PortBinding], seconds: float) -> None:
        """Take no new connections; open ones go on, and are reset after so many seconds."""
        packed = wire.packed_bindings(bindings)
        self._ask(Kind.DRAIN, {"bindings": packed, "seconds": seconds})

    def held(self) -> list[HeldBinding]:
        """All bindings that were given and not removed, also those that drain."""
        return list(map(wire.unpacked_held, self._ask(Kind.HELD)))

    def stop(self) -> None:
        """End the relay; all connections are reset."""
        self._ask(Kind.STOP)

    def _ask(self, kind: Kind, body: object = None, descriptors: Sequence[int] = ()) -> Any:  # noqa: ANN401 - JSON
        with self._lock:
            return self._answered(Frame(kind, body, list(descriptors))).body["result"]

    def _answered(self, question: Frame) -> Frame:
        try:
            connection = self._connected()
            quick = question.kind in (Kind.HELLO, Kind.HELD)
            connection.settimeout(_QUICK_S if quick else _PATIENCE_S)
            for data, descriptors in question.pieces():
                _send_all(connection, data, descriptors)
            answer = _receive(connection)
        except (OSError, EOFError, wire.Malformed) as error:
            self.close()
            raise RelayFailed(
                f"the relay at {self._path} can't be reached: {error or 'it has hung up'}"
            ) from error
        if errors := answer.body.get("errors"):
            _raise(question, [wire.unpacked_error(each) for each in errors])
        return answer

    def _connected(self) -> socket.socket:
        if self._connection is None:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(_QUICK_S)
            try:
                made.connect(str(self._path))
            except BaseException:
                made.close()
                raise
            self._connection = made
        return self._connection


def _send_all(connection: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    sent = socket.send_fds(connection, [data], descriptors)
    if sent < len(data):
        connection.sendall(data[sent:])


def _receive(connection: socket.socket) -> Frame:
    assembly = Assembly()
    try:
        while (frame := assembly.receive(connection)) is None:
            pass
    except BaseException:
        assembly.close()
        raise
    return frame


def _raise(question: Frame, errors: Sequence[RelayFailed]) -> None:
    if question.kind == Kind.REMOVE:
        raise ReleaseFailed(errors)
    raise errors[0]

"""What the daemon and the relay say to each other, on a Unix stream socket.

A frame is a header, a JSON body, and open descriptors (SCM_RIGHTS, unix(7)), which travel with
single bytes behind the body. The client asks with one frame and gets one, of the same kind, before
it asks again. Descriptors go with `ADD`, one for each binding, and come with `RETIRE`.

The header, `HELLO` and `RETIRE` are the same in every version, so that whoever meets a stranger can
find out, and send it into retirement with nothing lost. All other kinds belong to `VERSION`.
"""

import json
import os
import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from enum import IntEnum
from typing import Any, Final

from hostports.core.rows import from_row, to_row
from hostports.errors import HostportsError, RelayFailed
from hostports.model.port import PortBinding
from hostports.model.relay import HeldBinding, RelayCounters

VERSION: Final = 1
#: Descriptors in one message (SCM_MAX_FD).
_DESCRIPTORS_AT_ONCE: Final = 253
#: Version, kind, number of descriptors, bytes of the body.
_HEADER: Final = struct.Struct("!HHII")
#: More than any call needs: 60,000 bindings are 10 MB.
_LONGEST_BODY: Final = 1 << 28
_DESCRIPTOR: Final = array("i").itemsize
#: Bytes read at once, and room for the ancillary data of one message.
_AT_ONCE: Final = 1 << 18
_CONTROL_SIZE: Final = socket.CMSG_SPACE(_DESCRIPTORS_AT_ONCE * _DESCRIPTOR)


class Kind(IntEnum):
    """What a frame asks for."""

    #: Who are you? ``{"version": 1, "pid": 812}``.
    HELLO = 0
    #: Give your sockets away, let connections end, in so many ``seconds`` at most, and go.
    RETIRE = 1
    ADD = 2
    REMOVE = 3
    DRAIN = 4
    HELD = 5
    STOP = 6


class Malformed(Exception):
    """What was received is no frame."""


@dataclass(slots=True)
class Frame:
    """A question or an answer; whoever takes a descriptor out of it has to close it.

    `lost` descriptors were sent, but the receiver could not open them.
    """

    kind: int
    body: Any = None
    descriptors: list[int] = field(default_factory=list)
    version: int = VERSION
    lost: int = 0

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def pieces(self) -> Iterator[tuple[bytes, Sequence[int]]]:
        """What to send, in order: bytes, and the descriptors that go with them."""
        body = json.dumps(self.body, separators=(",", ":")).encode()
        yield _HEADER.pack(self.version, self.kind, len(self.descriptors), len(body)) + body, ()
        for start in range(0, len(self.descriptors), _DESCRIPTORS_AT_ONCE):
            yield b"\0", self.descriptors[start : start + _DESCRIPTORS_AT_ONCE]


class Assembly:
    """A frame that arrives piece by piece."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._bytes = bytearray()
        self._header: tuple[int, int, int, int] | None = None

    def close(self) -> None:
        """Close what has come of a frame that is not to be completed."""
        Frame(0, descriptors=self._descriptors).close()

    def receive(self, connection: socket.socket) -> Frame | None:
        """Read once; the frame, if that completes it.

        Raises `EOFError` at the end, `Malformed`, or `OSError` as recvmsg(2) does.
        """
        data, ancillary, _, _ = connection.recvmsg(_AT_ONCE, _CONTROL_SIZE, socket.MSG_CMSG_CLOEXEC)
        self._descriptors += _received_descriptors(ancillary)
        if not data:
            raise EOFError
        return self._take(data)

    def _take(self, data: bytes) -> Frame | None:
        self._bytes += data
        if self._header is None and len(self._bytes) >= _HEADER.size:
            self._header = _HEADER.unpack_from(self._bytes)
            if self._header[3] > _LONGEST_BODY:
                raise Malformed(f"a body of {self._header[3]} bytes")
        if self._header is None:
            return None
        version, kind, announced, length = self._header
        body_end = _HEADER.size + length
        missing = body_end + -(-announced // _DESCRIPTORS_AT_ONCE) - len(self._bytes)
        if missing > 0:
            return None
        if missing < 0:
            raise Malformed("more than a frame")
        try:
            body = json.loads(self._bytes[_HEADER.size : body_end])
        except (RecursionError, ValueError) as error:
            raise Malformed(str(error)) from error
        lost = announced - len(self._descriptors)
        if lost < 0:
            raise Malformed(f"{len(self._descriptors)} descriptors, but {announced} announced")
        return Frame(kind, body, self._descriptors, version, lost)


def _received_descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % _DESCRIPTOR])
    return found.tolist()


def packed_bindings(bindings: Sequence[PortBinding]) -> list[Any]:
    """Bindings as a body has them."""
    return [to_row(each) for each in bindings]


def unpacked_binding(row: Any) -> PortBinding:  # noqa: ANN401 - from JSON
    """A binding of a body. Raises `Malformed`."""
    try:
        return from_row(row)
    except (TypeError, ValueError) as error:
        raise Malformed(f"no binding: {error}") from error


def packed_held(held: HeldBinding) -> list[Any]:
    """A held binding as a body has it."""
    return [to_row(held.binding), held.draining, *astuple(held.counters)]


def unpacked_held(row: Any) -> HeldBinding:  # noqa: ANN401 - from JSON
    """A held binding of a body."""
    binding, draining, *counters = row
    return HeldBinding(unpacked_binding(binding), RelayCounters(*counters), draining)


def packed_error(error: HostportsError) -> list[str]:
    """An error as a body has it."""
    return [error.message, error.hint]


def unpacked_error(row: Sequence[str]) -> RelayFailed:
    """An error of a body."""
    return RelayFailed(*row)

"""What the kernel tells of changes by netlink: sockets, messages and their attributes.

pyroute2 has no monitor of nftables, and one of links would start a thread for each. What is read
here is little: headers and names; the format is linux/netlink.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from hostports.errors import LinkFailed

#: nlmsghdr: length, type, flags, sequence number, port.
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
#: NLA_TYPE_MASK: without the flags for nested ones and byte order.
_KIND: Final = 0x3FFF
#: Sixty thousand ports in one transaction are megabytes of messages; memory is taken only then.
BUFFER_BYTES: Final = 16 << 20
_SO_RCVBUFFORCE: Final = 33
_NETLINK_ROUTE: Final = 0


class Message(NamedTuple):
    """One message: its type, the port of whoever caused it (a process's id), and what it says."""

    kind: int
    port: int
    body: bytes


class Multicast:
    """A socket in groups of a netlink family, in the network namespace of the calling thread."""

    def __init__(self, family: int, groups: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family
        )
        with suppress(OSError):  # then it is as large as the kernel's default
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        self._socket.bind((0, groups))

    def fileno(self) -> int:
        """Readable when there is something."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()

    def datagrams(self) -> Iterator[bytes]:
        """What there is; an empty one where something was lost, as there was too much."""
        while True:
            try:
                yield self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield b""


def of_links(groups: int, what: str) -> Multicast:
    """What the kernel tells of interfaces. Raises `LinkFailed` where it doesn't, with `what`."""
    try:
        return Multicast(_NETLINK_ROUTE, groups)
    except OSError as error:
        raise LinkFailed(f"{what} can't be watched: {error.strerror}") from error


def sender(datagram: bytes) -> int:
    """The port of its first message; a transaction's messages all have the same."""
    return int(_HEADER.unpack_from(datagram)[4]) if len(datagram) >= _HEADER.size else 0


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _, _, port = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size:
            return
        yield Message(kind, port, datagram[offset + _HEADER.size : offset + length])
        offset += _aligned(length)


def attributes(body: bytes) -> dict[int, bytes]:
    """The attributes of a message, by their numbers."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def text(value: bytes) -> str:
    """An attribute that is a name."""
    return value.partition(b"\0")[0].decode("ascii", "replace")


def _aligned(length: int) -> int:
    return -(-length // 4) * 4

"""Clients and servers of the tests; what they wait for in vain becomes an error, not a hang."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple
from zlib import crc32

from tests.netns.namespaces import Namespace
from tests.relay.waiting import PATIENCE_S

#: More than any bench of waiting clients here.
BACKLOG: Final = 4096
#: Bytes of datagrams that may wait; the kernel cuts it to net.core.rmem_max.
_RECEIVE_BUFFER: Final = 1 << 22
#: Whoever takes so many bytes for a reader that reads none has buffers of its own.
STUCK_LIMIT: Final = 1 << 28
#: Of a length that divides no buffer, so that whatever is lost or doubled shifts what follows.
BLOCK: Final = random.Random(20211999).randbytes(1_000_003)  # noqa: S311 - not for secrets


def resolved(ip: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Family and address of ``192.0.2.1`` or ``fe80::1%eth0`` in this thread's namespace."""
    family, _, _, _, address = socket.getaddrinfo(ip, port, flags=socket.AI_NUMERICHOST)[0]
    return family, address  # type: ignore[return-value] # IPv6 addresses are longer


def bound(where: Namespace, kind: socket.SocketKind, ip: str, port: int = 0) -> socket.socket:
    """A socket of a namespace, bound to an address."""
    with where.entered():
        family, address = resolved(ip, port)
        made = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        made.bind(address)
    made.settimeout(PATIENCE_S)
    return made


def listening(where: Namespace, ip: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """A listening TCP socket."""
    made = bound(where, socket.SOCK_STREAM, ip, port)
    made.listen(backlog)
    return made


def connected(
    where: Namespace,
    ip: str,
    port: int,
    *,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    source: str = "",
) -> socket.socket:
    """A socket that is connected, from a source address if one is given."""
    with where.entered():
        family, address = resolved(ip, port)
        made = socket.socket(family, kind)
        made.settimeout(PATIENCE_S)
        if source:
            made.bind((source, 0))
        made.connect(address)
    return made


def read_all(peer: socket.socket) -> bytes:
    """All that comes until the end."""
    return b"".join(iter(lambda: peer.recv(1 << 20), b""))


def read_exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    parts = []
    while size and (part := peer.recv(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def send_and_end(peer: socket.socket, data: bytes) -> None:
    """Send data and then the end; nothing lies between."""
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


def exchange(client: socket.socket, server: socket.socket) -> bool:
    """Whether a connection passes on a question and its answer."""
    client.sendall(b"question")
    heard = read_exactly(server, 8)
    server.sendall(b"answer")
    return (heard, read_exactly(client, 6)) == (b"question", b"answer")


def reset(peer: socket.socket) -> None:
    """Close with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def ending(peer: socket.socket) -> str:
    """How a connection ends once all that came is read: ``reset`` or ``end``."""
    try:
        read_all(peer)
    except ConnectionResetError:
        return "reset"
    return "end"


def fate(connect: Callable[[], socket.socket]) -> str:
    """How a connection ends that may be reset while it is being made: ``reset`` or ``end``."""
    try:
        with connect() as peer:
            return ending(peer)
    except ConnectionResetError:
        return "reset"


class Bulk(NamedTuple):
    """So many bytes of `BLOCK`, again and again."""

    size: int
    checksum: int

    @classmethod
    def of(cls, size: int) -> "Bulk":
        """What so many bytes have to be."""
        checksum = 0
        for part in _parts(size):
            checksum = crc32(part, checksum)
        return cls(size, checksum)


def _parts(size: int) -> Iterator[memoryview]:
    while size:
        part = memoryview(BLOCK)[:size]
        yield part
        size -= len(part)


def send_bulk(peer: socket.socket, size: int) -> None:
    """Send so many bytes, and the end."""
    for part in _parts(size):
        peer.sendall(part)
    peer.shutdown(socket.SHUT_WR)


def receive_bulk(peer: socket.socket) -> Bulk:
    """Read to the end."""
    buffer = memoryview(bytearray(1 << 18))
    size = checksum = 0
    while count := peer.recv_into(buffer):
        size += count
        checksum = crc32(buffer[:count], checksum)
    return Bulk(size, checksum)


def send_until_stuck(sender: socket.socket) -> int:
    """Send until nothing moves any more; how many bytes the kernels between the ends took."""
    sender.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < STUCK_LIMIT:
            sent += sender.send(memoryview(BLOCK)[sent % len(BLOCK) :])
    return sent

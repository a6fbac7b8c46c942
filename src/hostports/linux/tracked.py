"""Entries of connection tracking by netlink (linux/netfilter/nfnetlink_conntrack.h).

pyroute2 makes a tree of objects of each entry, and asks for each deletion on its own: of a hundred
thousand entries, those of a thousand ports take a minute and a half (bench/conntrack.py). Here an
entry stays bytes, of which a few are looked at, and deletions go many at a time.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, Self

from hostports.linux.multicast import messages
from hostports.model.address import Family

_NETLINK_NETFILTER: Final = 12
#: The subsystem's number, and its messages.
_GET, _DELETE = 0x0101, 0x0102
#: linux/netlink.h
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
NESTED: Final = 0x8000

#: nlmsghdr: length, type, flags, sequence number, port. nfgenmsg: family, version, resource.
_HEADER: Final = struct.Struct("=IHHII")
GENERIC: Final = struct.Struct("=BBH")
_CODE: Final = struct.Struct("=i")
_ATTRIBUTE: Final = struct.Struct("=HH")
#: CTA_TUPLE_ORIG or …_REPLY: lengths, types and values of what it contains. Addresses come first.
_ENDS: Final = {
    of: struct.Struct(f"=4x 8x{size}s4x{size}s HHHHB3x")
    for of, size in ((Family.IPV4, 4), (Family.IPV6, 16))
}
_PORTS: Final = struct.Struct("=4x2s2x4x2s2x")
_NO_PORTS: Final = (b"\0\0", b"\0\0")
#: The length of CTA_TUPLE_PROTO where there are a protocol and two ports.
_PORTS_BYTES: Final = 28
_NUMBERS: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}

#: CTA_FILTER, and what of the original tuple it looks at (since Linux 5.8; others list all).
_CTA_TUPLE_ORIG, _CTA_FILTER = 1 | NESTED, 25 | NESTED
_BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 3, 1 << 5

_READ_BYTES: Final = 1 << 16
#: Deletions in one message: their answers must fit into the socket's buffer.
_AT_ONCE: Final = 64


class Way(NamedTuple):
    """One direction of a flow: addresses packed, ports in network order, 0 where there are none."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: bytes
    port: bytes


class Entry(NamedTuple):
    """How a flow began, its answers, and what the kernel calls it."""

    asks: Way
    answers: Way
    name: bytes


class Tracked:
    """The entries of the network namespace that the calling thread is in. All raise `OSError`."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        with suppress(OSError):  # then an error's answer repeats the question
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def entries(
        self, of: Family, protocol: int = 0, port: int = 0, naming: Iterable[bytes] = ()
    ) -> Iterator[Entry]:
        """All flows, or those of a protocol, or to one port of that.

        With `naming` others than those in which one of these addresses is may be left out. What
        protocol and port were asked for is to be seen to again, as old kernels list all.
        """
        self._socket.send(_question(of, protocol, port))
        wanted = tuple(naming)
        for body in self._answers():
            if not wanted or any(each in body for each in wanted):
                yield _entry(of, body)

    def delete(self, of: Family, names: Iterable[bytes]) -> int:
        """Delete entries by their names; how many were still there."""
        waiting, gone = list(names), 0
        for start in range(0, len(waiting), _AT_ONCE):
            some = waiting[start : start + _AT_ONCE]
            body = GENERIC.pack(_NUMBERS[of], 0, 0)
            self._socket.send(b"".join(message(_DELETE, _ACK, body + each) for each in some))
            gone += self._deleted(len(some))
        return gone

    def _deleted(self, asked: int) -> int:
        gone = 0
        while asked:
            for kind, _, body in messages(self._socket.recv(_READ_BYTES)):
                if kind == _ERROR:
                    asked -= 1
                    # Others have just expired.
                    with suppress(FileNotFoundError):
                        _raise_error(body)
                        gone += 1
        return gone

    def _answers(self) -> Iterator[bytes]:
        while True:
            for kind, _, body in messages(self._socket.recv(_READ_BYTES)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    _raise_error(body)
                yield body


def _question(of: Family, protocol: int, port: int) -> bytes:
    body = GENERIC.pack(_NUMBERS[of], 0, 0)
    if protocol:
        flags = _BY_PROTOCOL | (_BY_DESTINATION_PORT if port else 0)
        inside = attribute(1, struct.pack("=B", protocol))
        if port:
            inside += attribute(3, struct.pack("!H", port))
        body += attribute(_CTA_TUPLE_ORIG, attribute(2 | NESTED, inside))
        body += attribute(_CTA_FILTER, attribute(1, struct.pack("=I", flags)))
    return message(_GET, _DUMP, body)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A question to the kernel."""
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute of it; of several one after the other, a nested one is made."""
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _raise_error(body: bytes) -> None:
    (code,) = _CODE.unpack_from(body)
    if code:
        raise OSError(-code, os.strerror(-code))


def _entry(of: Family, body: bytes) -> Entry:
    """An entry: what began it comes first, then its answers."""
    start = GENERIC.size
    (length, _) = _ATTRIBUTE.unpack_from(body, start)
    asks, answers = _way(of, body, start), _way(of, body, start + length)
    return Entry(asks, answers, body[start : start + length])


def _way(of: Family, body: bytes, offset: int) -> Way:
    ends = _ENDS[of]
    source, destination, length, _, _, _, protocol = ends.unpack_from(body, offset)
    with_ports = length == _PORTS_BYTES
    ports = _PORTS.unpack_from(body, offset + ends.size) if with_ports else _NO_PORTS
    return Way(source, destination, protocol, *ports)

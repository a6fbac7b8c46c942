"""Linux's rules for bind(2) and listen(2), as a table of sockets."""

import errno
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from hostports.model.address import Family, IPAddress, family, is_wildcard
from hostports.model.port import Protocol

_descriptors = count(1000)


@dataclass(eq=False, slots=True)
class FakeSocket:
    """A socket in the table; its descriptor is made up."""

    protocol: Protocol
    ip: IPAddress
    port: int
    reuseaddr: bool
    v6only: bool
    listening: bool = False
    closed: bool = False
    number: int = field(default_factory=lambda: next(_descriptors))

    def fileno(self) -> int:
        """The made-up descriptor, unique among all fake sockets."""
        return self.number

    def overlaps(self, other: "FakeSocket") -> bool:
        """Whether some address reaches both, their ports being equal."""
        if family(self.ip) is family(other.ip):
            return self.ip == other.ip or is_wildcard(self.ip) or is_wildcard(other.ip)
        six = self if family(self.ip) is Family.IPV6 else other
        return is_wildcard(six.ip) and not six.v6only


class FakeKernel:
    """The sockets of a host that has exactly `addresses`; no wildcard needs to be among them."""

    def __init__(
        self,
        addresses: Iterable[IPAddress],
        unsupported: frozenset[Protocol] = frozenset(),
    ) -> None:
        self._addresses = frozenset(addresses)
        self._unsupported = unsupported
        self._bound: defaultdict[tuple[Protocol, int], list[FakeSocket]] = defaultdict(list)

    def open(
        self, protocol: Protocol, ip: IPAddress, port: int, *, reuseaddr: bool, v6only: bool = True
    ) -> FakeSocket:
        """Make a socket and bind it. Raises `OSError` as socket(2) and bind(2) do."""
        if protocol in self._unsupported:
            raise _os_error(errno.EPROTONOSUPPORT)
        if family(ip) is Family.IPV6 and (ip.is_link_local or ip.is_multicast):
            raise _os_error(errno.EINVAL)
        if not is_wildcard(ip) and ip not in self._addresses:
            raise _os_error(errno.EADDRNOTAVAIL)
        sock = FakeSocket(protocol, ip, port, reuseaddr, v6only)
        if any(_refuses_bind(sock, other) for other in self._neighbours(sock)):
            raise _os_error(errno.EADDRINUSE)
        self._bound[protocol, port].append(sock)
        return sock

    def listen(self, sock: FakeSocket) -> None:
        """Raises `OSError` if a socket of an overlapping address listens already."""
        if any(other.listening for other in self._neighbours(sock)):
            raise _os_error(errno.EADDRINUSE)
        sock.listening = True

    def close(self, sock: FakeSocket) -> None:
        """Take a socket out of the table; a second time has no effect."""
        if not sock.closed:
            sock.closed = True
            self._bound[sock.protocol, sock.port].remove(sock)

    def sockets(self) -> list[FakeSocket]:
        """All sockets that are bound."""
        return [sock for bound in self._bound.values() for sock in bound]

    def _neighbours(self, sock: FakeSocket) -> list[FakeSocket]:
        bound = self._bound[sock.protocol, sock.port]
        return [other for other in bound if other is not sock and sock.overlaps(other)]


def _refuses_bind(sock: FakeSocket, other: FakeSocket) -> bool:
    """SO_REUSEADDR on both lets bindings overlap until one of them listens (socket(7))."""
    return other.listening or not (sock.reuseaddr and other.reuseaddr)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))

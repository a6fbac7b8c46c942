"""Which host port next: exact, of a range, or dynamic (moby 28.5 libnetwork/portallocator)."""

from collections.abc import Iterator, Mapping, Sequence, Set
from operator import itemgetter
from threading import Lock

from hostports.brackets import bracketed
from hostports.errors import NoPortFree, PortPublished
from hostports.model.address import IPAddress, overlap, unmapped
from hostports.model.port import PortRange, Protocol, SocketAddress


class PortAllocator:
    """Who has which port on which host address; safe to use from many threads.

    A port must be free on each address asked for and on the wildcard of its family; for a wildcard,
    on every address of the family. IPv4 and IPv6 don't disturb each other.
    """

    def __init__(self) -> None:
        self._owners: dict[tuple[Protocol, int], dict[IPAddress, str]] = {}
        self._last_given: dict[tuple[Protocol, IPAddress, PortRange], int] = {}
        self._lock = Lock()

    def allocate(
        self,
        protocol: Protocol,
        ips: Sequence[IPAddress],
        ports: PortRange,
        owner: str = "",
        excluded: Sequence[Set[int]] = (),
    ) -> int:
        """Take one port on all of the addresses and return it.

        A range goes on after the port last given from it on the first address, and wraps; a port
        given back is thus the last to be given again. `excluded` ports are passed over. Raises
        `PortPublished` for an exact port, `NoPortFree` for a range; then nothing is taken.
        """
        addresses = list(dict.fromkeys(unmapped(ip) for ip in ips))
        if not addresses:
            raise ValueError("a port is allocated on at least one address")
        with self._lock:
            if len(ports) == 1 and not any(ports.first in some for some in excluded):
                port = self._exactly(protocol, addresses, ports.first)
            else:
                port = self._next_free(protocol, addresses, ports, excluded)
            for ip in addresses:
                self._owners.setdefault((protocol, port), {})[ip] = owner
        return port

    def release(self, protocol: Protocol, ip: IPAddress, port: int) -> None:
        """Give back one port on one address; no effect if it isn't taken."""
        with self._lock:
            owners = self._owners.get((protocol, port), {})
            owners.pop(unmapped(ip), None)
            if not owners:
                self._owners.pop((protocol, port), None)

    def release_all(self) -> None:
        """Give back every port and forget where ranges go on."""
        with self._lock:
            self._owners.clear()
            self._last_given.clear()

    def copy(self) -> "PortAllocator":
        """An allocator of its own that stands where this one stands."""
        twin = PortAllocator()
        with self._lock:
            twin._owners = {port: dict(owners) for port, owners in self._owners.items()}
            twin._last_given = dict(self._last_given)
        return twin

    def dump(self) -> dict[Protocol, dict[IPAddress, list[int]]]:
        """The ports taken, ascending, by protocol and address."""
        taken: dict[Protocol, dict[IPAddress, list[int]]] = {}
        with self._lock:
            for protocol, port in sorted(self._owners, key=itemgetter(1)):
                for ip in self._owners[protocol, port]:
                    taken.setdefault(protocol, {}).setdefault(ip, []).append(port)
        return taken

    def _exactly(self, protocol: Protocol, addresses: Sequence[IPAddress], port: int) -> int:
        if in_the_way := self._in_the_way(protocol, addresses, port):
            wanted = [str(SocketAddress(protocol, ip, port)) for ip in addresses]
            holders = {
                str(SocketAddress(protocol, ip, port)): owner for ip, owner in in_the_way.items()
            }
            raise PortPublished(wanted, holders)
        return port

    def _next_free(
        self,
        protocol: Protocol,
        addresses: Sequence[IPAddress],
        ports: PortRange,
        excluded: Sequence[Set[int]],
    ) -> int:
        for port in self._in_turn(protocol, addresses[0], ports):
            if any(port in some for some in excluded):
                continue
            if not self._in_the_way(protocol, addresses, port):
                for ip in addresses:
                    self._last_given[protocol, ip, ports] = port
                return port
        where = " and ".join(bracketed(ip) for ip in addresses)
        raise NoPortFree(
            f"no host port of {ports}/{protocol.value} is free on {where}",
            "publish from a larger range, or unpublish a port of this one",
        )

    def _in_turn(self, protocol: Protocol, ip: IPAddress, ports: PortRange) -> Iterator[int]:
        last_given = self._last_given.get((protocol, ip, ports), ports.last)
        yield from range(last_given + 1, ports.last + 1)
        yield from range(ports.first, last_given + 1)

    def _in_the_way(
        self, protocol: Protocol, addresses: Sequence[IPAddress], port: int
    ) -> Mapping[IPAddress, str]:
        """The addresses, with their owners, on which the port is taken already."""
        owners = self._owners.get((protocol, port))
        if not owners:
            return {}
        return {
            taken: owner
            for taken, owner in owners.items()
            if any(overlap(taken, ip) for ip in addresses)
        }

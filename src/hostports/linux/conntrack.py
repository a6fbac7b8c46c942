"""Connection tracking entries, which would go on leading flows where they led before."""

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import ip_address
from itertools import groupby
from typing import Final

from pyroute2 import IPRoute

from hostports.errors import ConntrackFailed, NotPermitted
from hostports.linux.tracked import Entry, Tracked
from hostports.model.address import Family, IPAddress, family, is_wildcard
from hostports.model.flow import Flow
from hostports.model.port import SocketAddress

_FAMILIES: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
#: Up to so many ports the kernel is asked for each on its own; more, and for all of a protocol.
_FEW: Final = 16
#: The kernel has no nf_conntrack_netlink, so nobody can see what it tracks.
_ABSENT: Final = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL)
#: IP version and protocol number.
_Kind = tuple[Family, int]


class LinuxConntrack:
    """`Conntrack` of the network namespace that the calling thread is in."""

    def forget(self, sockets: Collection[SocketAddress]) -> int:
        """Delete the entries of flows to any of these; how many there were."""
        forgotten = 0
        with _tracked() as tracked:
            for kind, some in _by_kind(sockets):
                forgotten += _forget(tracked, kind, list(some))
        return forgotten

    def forget_if(
        self, unwanted: Callable[[Flow], bool], naming: Collection[IPAddress] = ()
    ) -> int:
        """Look at the entries, and delete those that are unwanted; how many there were."""
        forgotten = 0
        packed = [each.packed for each in naming]
        with _tracked() as tracked:
            for of in {family(each) for each in naming} or set(Family):
                local = _local(of)
                found = [
                    each.name
                    for each in tracked.entries(of, naming=packed)
                    if unwanted(_flow(each, local))
                ]
                forgotten += tracked.delete(of, found)
        return forgotten


@contextmanager
def _tracked() -> Iterator[Tracked]:
    """A kernel that can't be asked tracks nothing that we could forget."""
    try:
        with Tracked() as tracked:
            yield tracked
    except OSError as error:
        if error.errno in _ABSENT:
            return
        if error.errno == errno.EPERM:
            raise NotPermitted(
                "connection tracking may not be changed", "run as root or with CAP_NET_ADMIN"
            ) from error
        raise ConntrackFailed(f"old flows can't be forgotten: {error.strerror}") from error


def _by_kind(
    sockets: Collection[SocketAddress],
) -> Iterator[tuple[_Kind, Iterator[SocketAddress]]]:
    def kind(each: SocketAddress) -> _Kind:
        return family(each.ip), each.protocol.number

    return groupby(sorted(sockets, key=lambda each: (each.ip.version, each.protocol.number)), kind)


def _forget(tracked: Tracked, kind: _Kind, sockets: Collection[SocketAddress]) -> int:
    """Delete the entries of flows to sockets of one kind."""
    of, protocol = kind
    exact = {(each.ip.packed, _in_order(each.port)) for each in sockets if not is_wildcard(each.ip)}
    anywhere = {_in_order(each.port) for each in sockets if is_wildcard(each.ip)}
    local = {each.packed for each in _local(of)} if anywhere else set()
    ports = {each.port for each in sockets}
    found: list[bytes] = []
    for port in ports if len(ports) <= _FEW else (0,):
        for asks, _, name in tracked.entries(of, protocol, port):
            to = asks.destination, asks.port
            if asks.protocol == protocol and (
                to in exact or (to[1] in anywhere and to[0] in local)
            ):
                found.append(name)
    # An old kernel lists all for each port.
    return tracked.delete(of, dict.fromkeys(found))


def _in_order(port: int) -> bytes:
    """As it stands in packets."""
    return port.to_bytes(2, "big")


def _flow(entry: Entry, local: Set[IPAddress]) -> Flow:
    asks, answers = entry.asks, entry.answers
    source, destination = _unpacked(asks.source), _unpacked(asks.destination)
    return Flow(
        asks.protocol,
        source,
        destination,
        int.from_bytes(asks.port, "big"),
        answered_by=_unpacked(answers.source),
        answered_to=_unpacked(answers.destination),
        from_host=source in local or source.is_loopback,
        to_host=destination in local or destination.is_loopback,
        source_port=int.from_bytes(asks.source_port, "big"),
        answering_port=int.from_bytes(answers.source_port, "big"),
    )


# Hosts and containers are in many flows.
@lru_cache(4096)
def _unpacked(address: bytes) -> IPAddress:
    return ip_address(address)


def _local(of: Family) -> Set[IPAddress]:
    """The host's own addresses, to which alone a wildcard leads; not those that flows pass by."""
    with IPRoute() as links:
        # Of a point-to-point link IFA_ADDRESS is the other end.
        found = [
            each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
            for each in links.get_addr(family=_FAMILIES[of])
        ]
    return frozenset(map(ip_address, found))

"""Connection tracking entries, which would go on leading flows where they led before."""

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import groupby
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.conntrack import Conntrack, NFCTAttrTuple
from pyroute2.netlink.exceptions import NetlinkError

from hostports.errors import ConntrackFailed, NotPermitted
from hostports.linux.flows import forget_if
from hostports.model.address import IPAddress, is_wildcard
from hostports.model.flow import Flow
from hostports.model.port import SocketAddress

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
#: Up to so many ports the kernel is asked for each on its own; more, and for all of a protocol.
_FEW: Final = 16
#: The kernel has no nf_conntrack_netlink, so nobody can see what it tracks.
_ABSENT: Final = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL)


class LinuxConntrack:
    """`Conntrack` of the network namespace that the calling thread is in."""

    def forget(self, sockets: Collection[SocketAddress]) -> int:
        """Delete the entries of flows to any of these; how many there were."""
        with _translated():
            return sum(_forget(kind, list(some)) for kind, some in _by_kind(sockets))
        return 0

    def forget_if(self, unwanted: Callable[[Flow], bool]) -> int:
        """Look at all entries without NAT, and delete what is unwanted; how many there were."""
        with _translated():
            return sum(forget_if(each, _local(each), unwanted) for each in _FAMILIES.values())
        return 0


@contextmanager
def _translated() -> Iterator[None]:
    """A kernel that can't be asked tracks nothing that we could forget."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        number = error.code if isinstance(error, NetlinkError) else error.errno
        if number in _ABSENT:
            return
        if number == errno.EPERM:
            raise NotPermitted(
                "connection tracking may not be changed", "run as root or with CAP_NET_ADMIN"
            ) from error
        raise ConntrackFailed(f"old flows can't be forgotten: {error}") from error


#: IP version and protocol number.
_Kind = tuple[int, int]


def _by_kind(
    sockets: Collection[SocketAddress],
) -> Iterator[tuple[_Kind, Iterator[SocketAddress]]]:
    def kind(each: SocketAddress) -> _Kind:
        return each.ip.version, each.protocol.number

    return groupby(sorted(sockets, key=kind), key=kind)


def _forget(kind: _Kind, sockets: Collection[SocketAddress]) -> int:
    """Delete the entries of flows to sockets of one kind."""
    family, protocol = _FAMILIES[kind[0]], kind[1]
    specific = {(each.ip, each.port) for each in sockets if not is_wildcard(each.ip)}
    anywhere = {each.port for each in sockets if is_wildcard(each.ip)}
    local = _local(family) if anywhere else frozenset()
    ports = {each.port for each in sockets}
    forgotten = 0
    with Conntrack() as tracked:
        for port in ports if len(ports) <= _FEW else (None,):
            asked = NFCTAttrTuple(family=family, proto=protocol, dport=port)
            for entry in list(tracked.dump_entries(tuple_orig=asked)):
                to = ip_address(entry.tuple_orig.daddr), entry.tuple_orig.dport
                if to in specific or (to[1] in anywhere and to[0] in local):
                    forgotten += _delete(tracked, entry.tuple_orig)
    return forgotten


def _delete(tracked: Any, flow: NFCTAttrTuple) -> int:  # noqa: ANN401 - pyroute2 has no types
    try:
        tracked.entry("del", tuple_orig=flow)
    except NetlinkError as error:
        if error.code != errno.ENOENT:  # it has just expired
            raise
        return 0
    return 1


def _local(family: int) -> Set[IPAddress]:
    """The host's own addresses, to which alone a wildcard leads; not those that flows pass by."""
    with IPRoute() as links:
        # Of a point-to-point link IFA_ADDRESS is the other end.
        found = [
            each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
            for each in links.get_addr(family=family)
        ]
    return frozenset(map(ip_address, found))

"""The host's interfaces and routes, from netlink's lists of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_DUMP_INTR
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from hostports.linux import sysctl
from hostports.linux.netlink import kind
from hostports.model.address import IPNetwork
from hostports.model.links import HostLinks, Interface

# linux/rtnetlink.h
_RT_TABLE_MAIN: Final = 254
_RTN_UNICAST: Final = 1
#: Local, broadcast, anycast, multicast: what addresses bring along.
_OF_ADDRESSES: Final = (2, 3, 4, 5)

_ANY: Final = {2: "0.0.0.0", 10: "::"}
#: Tunnels write a default route as two halves, 0.0.0.0/1 and 128.0.0.0/1 (OpenVPN's def1).
_LONGEST_DEFAULT: Final = 1
#: How often a list is asked for that changes meanwhile.
_ATTEMPTS: Final = 10


def read_links(links: IPRoute) -> HostLinks:
    """All interfaces, and the routes of the main table but default and link-local ones."""
    found = {each["index"]: each for each in _listed(links.get_links)}
    subnets: defaultdict[int, list[IPNetwork]] = defaultdict(list)
    for address in _listed(links.get_addr):
        subnets[address["index"]] += _subnets(address)
    interfaces = {
        str(each.get_attr("IFLA_IFNAME")): Interface(tuple(subnets[index]), kind(each) == "bridge")
        for index, each in found.items()
    }
    routes: dict[IPNetwork, str] = {}
    for route in filter(_counts, _listed(links.get_routes)):
        over = found.get(_interface(route))
        # The first one of several is the one that packets take.
        routes.setdefault(destination(route), str(over.get_attr("IFLA_IFNAME")) if over else "")
    return HostLinks(interfaces, routes, bool(sysctl.read("net.ipv6.conf.all.disable_ipv6")))


def _listed(ask: Callable[[], Any]) -> list[Any]:
    """A whole list: the kernel marks one that has changed while it was read (`NLM_F_DUMP_INTR`)."""
    for _ in range(_ATTEMPTS):
        found = list(ask())
        if not any(each["header"]["flags"] & NLM_F_DUMP_INTR for each in found):
            break
    return found


def _subnets(address: ifaddrmsg) -> Iterator[IPNetwork]:
    """The subnet of an address; of a point-to-point link's both ends."""
    there, length = address.get_attr("IFA_ADDRESS"), address["prefixlen"]
    here = address.get_attr("IFA_LOCAL")
    if here not in (None, there):
        yield ip_network(here)
    if there is not None:
        yield ip_network(f"{there}/{length}", strict=False)


def _counts(route: rtmsg) -> bool:
    """Whether it is a route that somebody made, to other hosts and not to all of them."""
    if route.get_attr("RTA_TABLE") != _RT_TABLE_MAIN or route["type"] in _OF_ADDRESSES:
        return False
    to = destination(route)
    link_local = to.version == 6 and to.is_link_local
    return to.prefixlen > _LONGEST_DEFAULT and not to.is_multicast and not link_local


def destination(route: rtmsg) -> IPNetwork:
    """Where a route leads to."""
    to = route.get_attr("RTA_DST") or _ANY[route["family"]]
    return ip_network(f"{to}/{route['dst_len']}")


def _interface(route: rtmsg) -> int:
    """The index of the interface that packets leave by, of several the first.

    0 for a route that drops them; IPv6's have loopback there.
    """
    if route["type"] != _RTN_UNICAST:
        return 0
    several = route.get_attr("RTA_MULTIPATH")
    return int(several[0]["oif"] if several else route.get_attr("RTA_OIF") or 0)

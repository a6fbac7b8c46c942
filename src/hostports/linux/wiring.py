"""The endpoint's end of its cable, inside its namespace: `eth0`, its addresses, its way out."""

import errno
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_interface
from typing import Final

from pyroute2 import IPRoute

from hostports.linux.netlink import (
    IFF_UP,
    IPInterface,
    add_addresses,
    find,
    index_of,
    set_ipv6,
    set_up,
    translated,
    wait_until_reached,
    without_those_of,
)
from hostports.model.address import Family, IPAddress
from hostports.model.network import BridgeNetwork, Endpoint

#: The endpoint's end of its cable.
INSIDE: Final = "eth0"
#: sys/socket.h and linux/rtnetlink.h
_ADDRESS_FAMILIES: Final = {4: 2, 6: 10}
_RTN_UNICAST: Final = 1
_ROUTING: Final = "remove the namespace's own default route, or use an --internal network"


def in_subnets(
    network: BridgeNetwork, address: Callable[[Family], IPAddress | None]
) -> Iterator[IPInterface]:
    """An address of each family that has one, with the length of the network's subnet."""
    for of in Family:
        subnet, ip = network.subnet(of), address(of)
        if subnet is not None and ip is not None:
            yield ip_interface(f"{ip}/{subnet.prefixlen}")


def wire(links: IPRoute, endpoint: Endpoint) -> None:
    """All that is the namespace's."""
    _give(links, endpoint, list(_addresses(endpoint)), _gateways(endpoint))


def rewire(links: IPRoute, endpoint: Endpoint, cable: int) -> bool:
    """The same for what is missing, where `eth0` is the end of our cable; whether anything was.

    Who has a default route of another kind wants that one. `cable` is the number of the host's end.
    """
    found = find(links, INSIDE)
    if found is None or found.get_attr("IFLA_LINK") != cable:
        return False
    lost = without_those_of(links, found["index"], _addresses(endpoint))
    ways = [each for each in _gateways(endpoint) if not _has_default(links, each)]
    if found["flags"] & IFF_UP and not lost and not ways:
        return False
    _give(links, endpoint, lost, ways)
    return True


def _give(
    links: IPRoute, endpoint: Endpoint, addresses: list[IPInterface], gateways: Iterable[IPAddress]
) -> None:
    """Loopback is set up last, as it would stay after a failure."""
    set_ipv6(INSIDE, disable_ipv6=str(int(endpoint.ipv6 is None)))
    set_up(links, INSIDE)
    add_addresses(links, INSIDE, addresses)
    wait_until_reached(links, INSIDE, addresses)
    for gateway in gateways:
        with translated(f"the default route by {gateway} can't be added", {errno.EEXIST: _ROUTING}):
            index = index_of(links, INSIDE)
            links.route("add", dst="default", gateway=str(gateway), oif=index)
    set_up(links, "lo")


def _addresses(endpoint: Endpoint) -> Iterator[IPInterface]:
    return in_subnets(endpoint.network, endpoint.address)


def _gateways(endpoint: Endpoint) -> Iterator[IPAddress]:
    network = endpoint.network
    if not network.internal:
        for each in in_subnets(network, network.gateway):
            if endpoint.address(Family(each.version)) is not None:
                yield each.ip


def _has_default(links: IPRoute, gateway: IPAddress) -> bool:
    """Whether there is a default route of a gateway's family, in any table."""
    routes = links.get_routes(family=_ADDRESS_FAMILIES[gateway.version])
    return any(each["dst_len"] == 0 and each["type"] == _RTN_UNICAST for each in routes)

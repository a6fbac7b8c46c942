"""What networks and bindings mean for packets, whatever the words of the rules."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses

from hostports.core.rules.data import Settings
from hostports.model.address import Family, IPAddress, IPNetwork
from hostports.model.network import BridgeNetwork, GatewayMode


def protected(network: BridgeNetwork, of: Family, settings: Settings) -> bool:
    """Whether other hosts may not reach the containers' own addresses."""
    open_modes = (GatewayMode.ROUTED, GatewayMode.NAT_UNPROTECTED)
    return (
        not network.internal
        and not settings.direct_routing
        and network.gateway_mode(of) not in open_modes
    )


def translated(network: BridgeNetwork, of: Family) -> bool:
    """Whether traffic of one family gets another source address when it leaves the network."""
    return network.subnet(of) is not None and not network.routed(of) and not network.internal


def source_ranges(sources: Sequence[IPNetwork], host_ip: IPAddress) -> Iterator[IPNetwork]:
    """The sources of the host address's family, merged: ranges in one set may not overlap."""
    if isinstance(host_ip, IPv4Address):
        return collapse_addresses(each for each in sources if isinstance(each, IPv4Network))
    return collapse_addresses(each for each in sources if isinstance(each, IPv6Network))

"""Which kernel settings a network needs (moby 28.5)."""

from collections.abc import Iterable
from typing import Final

from hostports.model.address import Family
from hostports.model.firewall import FirewallItem
from hostports.model.network import BridgeNetwork

#: What makes the host a router, per family; for IPv6 also the default for new interfaces.
FORWARDING: Final = {
    Family.IPV4: ("net.ipv4.ip_forward",),
    Family.IPV6: ("net.ipv6.conf.default.forwarding", "net.ipv6.conf.all.forwarding"),
}
#: Only with these do our rules see what goes from one port of a bridge to another.
BRIDGE_CALLS: Final = {
    Family.IPV4: "net.bridge.bridge-nf-call-iptables",
    Family.IPV6: "net.bridge.bridge-nf-call-ip6tables",
}


def of_interface(interface: str, name: str) -> str:
    """An interface's own setting of IPv4; the dots of its name are slashes then (sysctl(8))."""
    return f"net.ipv4.conf.{interface.replace('.', '/')}.{name}"


def networks_of(items: Iterable[FirewallItem]) -> list[BridgeNetwork]:
    """The networks among items."""
    return [item for item in items if isinstance(item, BridgeNetwork)]


def needed(networks: Iterable[BridgeNetwork]) -> dict[str, str]:
    """The settings that networks need, and their values."""
    names: list[str] = []
    for network in networks:
        for of in Family:
            if network.subnet(of) is None:
                continue
            if not network.internal:
                names += FORWARDING[of]
            if not network.icc:
                names.append(BRIDGE_CALLS[of])
    return dict.fromkeys(names, "1")

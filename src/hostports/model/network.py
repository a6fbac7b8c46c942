"""Bridge networks and the endpoints on them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from hostports.errors import UnusableValue
from hostports.model.address import Family, IPAddress, IPNetwork

#: Names of interfaces in rules and specs; Linux allows 15 characters, and keeps two words for its
#: settings. A trailing ``+`` or ``*`` is a wildcard in rules, as iptables and nft write it.
INTERFACE: Final = re.compile(r"(?!(all|default)$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
#: Names of networks and endpoints (Docker's for both).
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


def _stem(interface: str) -> str:
    """An interface's name without the wildcard at its end."""
    return interface[:-1] if interface.endswith(("+", "*")) else interface


def refuse_unusable_name(name: str) -> None:
    """Raise `UnusableValue` for what can't be the name of a network or endpoint."""
    if not _NAME.fullmatch(name):
        raise UnusableValue(
            name,
            "a name is up to 128 letters, digits, '_', '.' and '-', the first a letter or digit",
            "write another name",
        )


class GatewayMode(Enum):
    """How a bridge network's containers reach and are reached by other hosts, per family."""

    NAT = "nat"
    NAT_UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class BridgeNetwork:
    """A bridge device whose endpoints' ports can be published.

    `bridge` is the device's name. A family without a subnet is not the network's. `internal`
    networks reach nothing else and are reached by nothing else; `icc` False keeps its containers
    from each other. Outgoing traffic is masqueraded, or given `host_ipv4` and `host_ipv6` as its
    source. `trusted_host_interfaces` may reach containers directly; ``tun+`` means all ``tun…``.
    An `existing` bridge belongs to somebody else: it is neither made nor removed nor configured.
    `ports_only`: so does the whole network, and `bridge` may be any interface of the host behind
    which its containers are; their ports are published, and nothing else is decided about them.
    """

    name: str
    gateway_mode_ipv4: GatewayMode = GatewayMode.NAT
    gateway_mode_ipv6: GatewayMode = GatewayMode.NAT
    bridge: str = ""
    subnet_ipv4: IPv4Network | None = None
    subnet_ipv6: IPv6Network | None = None
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    host_ipv4: IPv4Address | None = None
    host_ipv6: IPv6Address | None = None
    trusted_host_interfaces: tuple[str, ...] = ()
    existing: bool = False
    ports_only: bool = False

    def __post_init__(self) -> None:
        for interface in (self.bridge or "unnamed", *map(_stem, self.trusted_host_interfaces)):
            if not INTERFACE.fullmatch(interface):
                raise UnusableValue(
                    interface, "it is no name of an interface", "write one as `ip link` shows it"
                )

    def gateway_mode(self, family: Family) -> GatewayMode:
        """The gateway mode of one family."""
        return self.gateway_mode_ipv4 if family is Family.IPV4 else self.gateway_mode_ipv6

    def routed(self, family: Family) -> bool:
        """Whether the family has no NAT, so that host ports and host addresses mean nothing."""
        return self.gateway_mode(family) is GatewayMode.ROUTED

    def subnet(self, family: Family) -> IPNetwork | None:
        """The subnet of one family, if the network has that family."""
        return self.subnet_ipv4 if family is Family.IPV4 else self.subnet_ipv6

    def gateway(self, family: Family) -> IPAddress | None:
        """The bridge's own address, a subnet's first; None where the mode is isolated."""
        subnet = self.subnet(family)
        isolated = self.gateway_mode(family) is GatewayMode.ISOLATED
        return None if subnet is None or isolated else subnet[1]

    def host_ip(self, family: Family) -> IPAddress | None:
        """The source address of outgoing traffic; None means the outgoing interface's own."""
        return self.host_ipv4 if family is Family.IPV4 else self.host_ipv6


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing with an IP address on a bridge network; either family may be missing.

    `namespace` is the file of the network namespace that we have wired up (``/run/netns/web``);
    empty for an address that somebody else brought up.
    """

    name: str
    network: BridgeNetwork
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    namespace: str = ""

    def __post_init__(self) -> None:
        for name, wanted in (("ipv4", IPv4Address), ("ipv6", IPv6Address)):
            ip = getattr(self, name)
            if ip is not None and not isinstance(ip, wanted):
                raise UnusableValue(
                    str(ip), f"it is no {name} address", "give it to the other family"
                )

    def address(self, family: Family) -> IPAddress | None:
        """Its address in one family, if it has one."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    @property
    def of_process(self) -> bool:
        """Whether its namespace goes by a process, whose number others may get after its end."""
        return self.namespace.startswith("/proc/")

    @property
    def addresses(self) -> Iterator[IPAddress]:
        """Its addresses, IPv4 first."""
        return (ip for ip in (self.ipv4, self.ipv6) if ip is not None)

"""Bridge networks and the endpoints on them, as far as port bindings depend on them."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from hostports.errors import UnusableValue
from hostports.model.address import Family, IPAddress


class GatewayMode(Enum):
    """How a bridge network's containers reach and are reached by other hosts, per family."""

    NAT = "nat"
    NAT_UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class BridgeNetwork:
    """A bridge device whose endpoints' ports can be published."""

    name: str
    gateway_mode_ipv4: GatewayMode = GatewayMode.NAT
    gateway_mode_ipv6: GatewayMode = GatewayMode.NAT

    def gateway_mode(self, family: Family) -> GatewayMode:
        """The gateway mode of one family."""
        return self.gateway_mode_ipv4 if family is Family.IPV4 else self.gateway_mode_ipv6

    def routed(self, family: Family) -> bool:
        """Whether the family has no NAT, so that host ports and host addresses mean nothing."""
        return self.gateway_mode(family) is GatewayMode.ROUTED


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing with an IP address on a bridge network; either family may be missing."""

    name: str
    network: BridgeNetwork
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

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

"""What the firewall is asked for, as a value that knows its own reverse."""

from dataclasses import dataclass
from typing import TypeAlias

from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding

#: What the firewall holds; each comes and goes on its own.
FirewallItem: TypeAlias = BridgeNetwork | Endpoint | PortBinding


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has passed through one binding by DNAT, both ways; the relay counts its own."""

    connections: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class FirewallChange:
    """What to open and what to close in one transaction."""

    opened: tuple[FirewallItem, ...] = ()
    closed: tuple[FirewallItem, ...] = ()

    def reversed(self) -> "FirewallChange":
        """The change that undoes this one."""
        return FirewallChange(opened=self.closed, closed=self.opened)

"""What the firewall is asked for, as a value that knows its own reverse, and what befalls it."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding

#: What the firewall holds; each comes and goes on its own.
FirewallItem: TypeAlias = BridgeNetwork | Endpoint | PortBinding
#: Of what others did, so much is said.
_MOST_SAID: Final = 10


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


@dataclass(frozen=True, slots=True)
class Damage:
    """What others did to what the firewall holds, in words, and which parts of it that concerns.

    Parts go by the names that the firewall gives them; none are named where it may be any.
    """

    said: tuple[str, ...]
    parts: frozenset[str] = frozenset()

    def __add__(self, other: "Damage") -> "Damage":
        """Both."""
        known = bool(self.parts and other.parts)
        said = tuple(dict.fromkeys(self.said + other.said))
        return Damage(said[:_MOST_SAID], self.parts | other.parts if known else frozenset())

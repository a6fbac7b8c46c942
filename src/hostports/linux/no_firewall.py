"""No firewall at all: ports are reached through the relay only, and nobody's rules are touched."""

from collections.abc import Mapping, Set

from hostports.core.rules.data import Settings
from hostports.model.firewall import FirewallChange, Traffic
from hostports.model.port import SocketAddress


class NoFirewall:
    """`Firewall` for those who bring their own rules."""

    def apply(self, change: FirewallChange) -> None:
        """Change nothing."""

    def planned(self, change: FirewallChange) -> list[str]:  # noqa: ARG002 - nothing is done
        """Nothing."""
        return []

    def reconfigure(self, settings: Settings) -> None:
        """There is nothing that settings could change."""

    def rebuild(self, parts: Set[str] = frozenset()) -> None:
        """Make nothing."""

    def damage(self) -> list[str]:
        """Nothing can be missing."""
        return []

    def remove(self) -> None:
        """There is nothing to remove."""

    def traffic(self) -> Mapping[SocketAddress, Traffic]:
        """Nobody counts."""
        return {}

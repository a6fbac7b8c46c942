"""What the firewall is asked for, as a value that knows its own reverse."""

from dataclasses import dataclass

from hostports.model.port import PortBinding


@dataclass(frozen=True, slots=True)
class FirewallChange:
    """Bindings to open and to close in one transaction."""

    opened: tuple[PortBinding, ...] = ()
    closed: tuple[PortBinding, ...] = ()

    def reversed(self) -> "FirewallChange":
        """The change that undoes this one."""
        return FirewallChange(opened=self.closed, closed=self.opened)

"""What the use cases work with: the edges, the port book, and what is published."""

from dataclasses import dataclass, field

from hostports.core.expand import Circumstances
from hostports.core.portbook import PortBook
from hostports.engine.published import Published
from hostports.interfaces import Firewall, HostFacts, HostSockets, PortDriver, Relay
from hostports.model.host import PortDriverInfo


@dataclass(frozen=True, slots=True)
class Edges:
    """All that acts; no `relay` means hairpin NAT, no `port_driver` that we are not rootless."""

    facts: HostFacts
    sockets: HostSockets
    firewall: Firewall
    relay: Relay | None = None
    port_driver: PortDriver | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """The edges, which ports are taken, and which bindings are published."""

    edges: Edges
    book: PortBook = field(default_factory=PortBook)
    published: Published = field(default_factory=Published)

    def circumstances(self) -> Circumstances:
        """What a decision may know, as it is now."""
        driver = self.edges.port_driver
        return Circumstances(
            host=self.edges.facts.read(),
            relay=self.edges.relay is not None,
            driver=driver.info() if driver else PortDriverInfo(),
        )

"""What the use cases work with: the edges, the port book, and what is published."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hostports.core.expand import Circumstances
from hostports.core.portbook import PortBook
from hostports.engine.published import Published
from hostports.interfaces import (
    Clock,
    Conntrack,
    Firewall,
    HostFacts,
    HostSockets,
    Links,
    PortDriver,
    Relay,
    StateStore,
)
from hostports.model.host import PortDriverInfo
from hostports.model.port import PortBinding, Protocol
from hostports.model.published import Ways
from hostports.model.state import Recorded


class _WallClock:
    """The host's clock, for an engine that was given no other."""

    def now(self) -> datetime:
        """In UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Edges:
    """All that acts; no `relay` means hairpin NAT, no `port_driver` that we are not rootless.

    Without `links` there are no networks to make, and without a `store` nothing outlives us. `nat`
    is whether the firewall translates; where it doesn't, the relay serves every port.
    """

    facts: HostFacts
    sockets: HostSockets
    firewall: Firewall
    relay: Relay | None = None
    port_driver: PortDriver | None = None
    conntrack: Conntrack | None = None
    links: Links | None = None
    store: StateStore | None = None
    clock: Clock = field(default_factory=_WallClock)
    nat: bool = True

    @property
    def ways(self) -> Ways:
        """By which ways ports are reached."""
        return Ways(self.nat, self.relay is not None)


@dataclass(frozen=True, slots=True)
class Resources:
    """The edges, which ports are taken, and which bindings are published."""

    edges: Edges
    book: PortBook = field(default_factory=PortBook)
    published: Published = field(default_factory=Published)

    def circumstances(self, interfaces: Collection[str] = ()) -> Circumstances:
        """What a decision may know, as it is now; of `interfaces`, by name, also their addresses.

        Raises `LinkFailed` or `NotPermitted` if these can't be read.
        """
        driver, facts = self.edges.port_driver, self.edges.facts
        addresses = {each: facts.addresses(each) for each in interfaces}
        return Circumstances(
            host=facts.read(),
            relay=self.edges.relay is not None,
            driver=driver.info() if driver else PortDriverInfo(),
            addresses={name: found for name, found in addresses.items() if found is not None},
        )

    def record(
        self,
        added: Sequence[Recorded] = (),
        removed: Sequence[Recorded] = (),
        at: datetime | None = None,
    ) -> None:
        """Write down what is wanted from now, or `at`, on, where there is a store."""
        if self.edges.store is not None:
            self.edges.store.record(added, removed, at=at or self.edges.clock.now())

    def forget_flows(self, bindings: Iterable[PortBinding], *, tcp: bool = False) -> None:
        """Let flows meet the rules as they are now: those of UDP always, of TCP if wanted.

        A UDP client that goes on sending would else never see a change.
        """
        if self.edges.conntrack is not None:
            self.edges.conntrack.forget(
                [
                    each.socket
                    for each in bindings
                    if not each.routed and (tcp or each.protocol is Protocol.UDP)
                ]
            )

"""An engine on fakes, with everything that a test may want to look at or to break."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from hostports import BridgeNetwork, Edges, Endpoint, Engine, PublishRequest, parse_spec
from hostports.engine import Publication
from hostports.model.firewall import FirewallChange
from hostports.model.host import Host, PortDriverInfo
from hostports.model.port import PortRange, Protocol
from hostports.testing import (
    FakeFirewall,
    FakeHostFacts,
    FakeHostSockets,
    FakeKernel,
    FakePortDriver,
    FakeRelay,
    Faults,
)

ADDRESSES = [ip_address(text) for text in ("127.0.0.1", "192.0.2.10", "192.0.2.11", "::1")]
BUILTIN = PortDriverInfo("builtin", frozenset({"tcp4", "tcp6", "udp4", "udp6"}))
DUAL = Endpoint("web", BridgeNetwork("lab"), IPv4Address("172.19.0.2"), IPv6Address("fd00::2"))


class BusyFirewall(FakeFirewall):
    """A firewall during whose changes something else may happen."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.meanwhile: Callable[[], None] = lambda: None

    def apply(self, change: FirewallChange) -> None:
        self.meanwhile()
        super().apply(change)


@dataclass
class World:
    """A host of fakes and the engine on it."""

    relayed: bool = True
    driver_info: PortDriverInfo | None = None
    failing: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = Faults(self.failing)
        self.kernel = FakeKernel(ADDRESSES)
        self.facts = FakeHostFacts(Host(dynamic_ports=PortRange(49200, 49215)))
        self.sockets = FakeHostSockets(self.kernel, self.faults)
        self.firewall = BusyFirewall(self.faults)
        self.relay = FakeRelay(self.faults)
        self.driver = FakePortDriver(self.driver_info, self.faults) if self.driver_info else None
        relay = self.relay if self.relayed else None
        self.engine = Engine(Edges(self.facts, self.sockets, self.firewall, relay, self.driver))

    def publish(self, *specs: str, endpoint: Endpoint = DUAL) -> Publication:
        parsed = [spec for text in specs for spec in parse_spec(text)]
        return self.engine.publish(PublishRequest(endpoint, parsed))

    def occupy(self, port: int, protocol: Protocol = Protocol.TCP) -> None:
        """Another process listens on a port of every IPv4 address."""
        other = self.kernel.open(protocol, IPv4Address("0.0.0.0"), port, reuseaddr=True)
        self.kernel.listen(other)

    def dump(self) -> dict[str, object]:
        """All that is held anywhere."""
        return {
            "sockets": self.sockets.dump(),
            "kernel": len(self.kernel.sockets()),
            "firewall": self.firewall.dump(),
            "relay": self.relay.dump(),
            "driver": self.driver.dump() if self.driver else [],
            "host ports": self.engine.book.host.dump(),
            "child ports": self.engine.book.child.dump(),
            "published": self.engine.published(),
        }


@pytest.fixture
def world() -> Iterator[World]:
    """A host with a relay; whatever a test publishes can be taken back without a trace."""
    world = World()
    empty = World().dump()
    yield world
    world.engine.unpublish(world.engine.published())
    held = world.dump()
    assert held == empty | {"kernel": held["kernel"]}

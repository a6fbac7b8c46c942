"""The API's service on a real registry, whose edges are all fakes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hostports import Edges, Engine, parse_spec
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.engine.registry import PortsRequest, Published, Registry
from hostports.errors import PageRefused
from hostports.model.event import Event, Finding, Happening, Severity
from hostports.model.following import Following
from hostports.model.host import Host
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, PortRange, PortSpec, SocketAddress
from hostports.model.published import Plan, PublishedPort
from hostports.testing import (
    FakeClock,
    FakeFirewall,
    FakeHostFacts,
    FakeHostSockets,
    FakeKernel,
    FakeLinks,
    FakeRelay,
    FakeStore,
    Faults,
)

ADDRESSES = [ip_address(text) for text in ("127.0.0.1", "192.0.2.10", "::1")]


#: A port on which no page can be served.
TAKEN = 80


@dataclass(eq=False)
class FakePage:
    """A page that is served nowhere; `broken` is raised when it ends."""

    url: str
    off: asyncio.Event = field(default_factory=asyncio.Event)
    broken: Exception | None = None

    async def ended(self) -> None:
        await self.off.wait()
        if self.broken is not None:
            raise self.broken


class FakeService:
    """`Service`, with all that a test may want to look at or to break.

    `broken` is raised by `reload`, `trace` and, inside the stream, by `events`.
    """

    def __init__(self) -> None:
        self.watchers: list[asyncio.Queue[Event | None]] = []
        self.pages: list[FakePage] = []
        self.reset()

    def reset(self) -> None:
        """Make a new host of it, on which nothing has happened yet."""
        self.faults = Faults()
        self.kernel = FakeKernel(ADDRESSES)
        self.sockets = FakeHostSockets(self.kernel, self.faults)
        self.firewall = FakeFirewall(self.faults)
        self.relay = FakeRelay(self.faults)
        self.links = FakeLinks(faults=self.faults)
        self.store = FakeStore(self.faults)
        self.clock = FakeClock()
        edges = Edges(
            FakeHostFacts(Host(dynamic_ports=PortRange(49200, 49299))),
            self.sockets,
            self.firewall,
            self.relay,
            links=self.links,
            store=self.store,
            clock=self.clock,
        )
        self.registry = Registry(Engine(edges))
        self.broken: Exception | None = None
        self.killed = False

    def furnish(self, *specs: str) -> None:
        """Add a network ``lab`` and an endpoint ``web`` on it, and publish ports of that."""
        subnets = (IPv4Network("10.0.0.0/24"), IPv6Network("fd00:1::/64"))
        self.registry.create_network(NetworkRequest("lab", subnets=subnets))
        ips = (IPv4Address("10.0.0.2"), IPv6Address("fd00:1::2"))
        self.registry.add_endpoint(EndpointRequest("lab", "web", "", *ips))
        for text in specs:
            self.registry.publish(PortsRequest("web", parse_spec(text)))

    def dump(self) -> dict[str, object]:
        """All that is held anywhere."""
        return {
            "networks": self.registry.networks(),
            "endpoints": self.registry.endpoints(),
            "published": self.registry.engine.created(),
            "sockets": self.sockets.dump(),
            "kernel": len(self.kernel.sockets()),
            "firewall": self.firewall.dump(),
            "relay": self.relay.dump(),
            "links": self.links.dump(),
            "store": self.store.dump(),
        }

    def tell(
        self, what: Happening, network: str = "", bindings: Sequence[PortBinding] = ()
    ) -> None:
        """Tell all who watch; on the event loop's thread only."""
        for watcher in self.watchers:
            watcher.put_nowait(
                Event(what, self.clock.now(), network, bindings=tuple(bindings), message="so it is")
            )

    def big_event(self) -> Event:
        """Of some 64 KiB."""
        return Event(Happening.FIREWALL_REBUILT, self.clock.now(), message="x" * 65536)

    async def networks(self) -> Sequence[BridgeNetwork]:
        return self.registry.networks()

    async def network(self, name: str) -> BridgeNetwork:
        return self.registry.network(name)

    async def create_network(self, request: NetworkRequest) -> BridgeNetwork:
        network = self.registry.create_network(request)
        self.tell(Happening.NETWORK_CREATED, network.name)
        return network

    async def remove_network(self, name: str, *, force: bool) -> None:
        self.registry.remove_network(name, force=force)
        self.tell(Happening.NETWORK_REMOVED, name)

    async def endpoints(self, network: str | None = None) -> Sequence[Endpoint]:
        return self.registry.endpoints(network)

    async def endpoint(self, name: str) -> Endpoint:
        return self.registry.endpoint(name)

    async def followings(self, endpoint: str | None = None) -> Sequence[Following]:
        return self.registry.followings(endpoint)

    async def lost(self, endpoint: str | None = None) -> Sequence[PortBinding]:
        lost = [each.binding for each in self.registry.lost]
        return [each for each in lost if endpoint in (None, each.endpoint)]

    async def add_endpoint(self, request: EndpointRequest) -> Endpoint:
        return self.registry.add_endpoint(request)

    async def remove_endpoint(self, name: str) -> None:
        self.registry.remove_endpoint(name)

    async def publish(self, request: PortsRequest) -> Published:
        published = self.registry.publish(request)
        bindings = [each.binding for each in published.ports]
        self.tell(Happening.PORTS_PUBLISHED, bindings=bindings)
        return published

    async def plan(self, request: PortsRequest) -> Plan:
        return self.registry.plan(request)

    async def unpublish(
        self, endpoint: str, specs: Sequence[PortSpec] | None, *, kill: bool
    ) -> Sequence[PortBinding]:
        self.killed = kill
        gone = self.registry.unpublish(endpoint, specs, kill=kill)
        self.tell(Happening.PORTS_UNPUBLISHED, bindings=gone)
        return gone

    async def ports(self, endpoint: str | None = None) -> Sequence[PublishedPort]:
        return self.registry.ports(endpoint)

    async def reload(self) -> None:
        if self.broken is not None:
            raise self.broken
        self.registry.reload()
        self.tell(Happening.FIREWALL_REBUILT)

    async def doctor(self) -> Sequence[Finding]:
        return [
            Finding(Severity.OK, "nft is there"),
            Finding(
                Severity.PROBLEM,
                "ufw drops what is forwarded",
                "ufw route allow",
                "table filter, chain FORWARD",
                ("0.0.0.0:80/tcp",),
            ),
        ]

    @asynccontextmanager
    async def page(self, port: int) -> AsyncIterator[FakePage]:
        if port == TAKEN:
            raise PageRefused(f"127.0.0.1:{port} is held by nginx", "choose another --port")
        page = FakePage(f"http://127.0.0.1:{port or 1}/?token=secret")
        self.pages.append(page)
        try:
            yield page
        finally:
            self.pages.remove(page)

    async def end_pages(self) -> None:
        for page in self.pages:
            page.off.set()

    async def trace(
        self, to: SocketAddress, seconds: float, *, probe: bool
    ) -> AsyncGenerator[str, None]:
        if self.broken is not None:
            raise self.broken
        yield f"Waiting {seconds:g} s for {to}."
        yield "One was sent." if probe else "None came."

    def events(self) -> AsyncIterator[Event]:
        watcher: asyncio.Queue[Event | None] = asyncio.Queue()
        self.watchers.append(watcher)
        return self._events(watcher)

    async def _events(self, watcher: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await watcher.get()) is not None:
                if self.broken is not None:
                    raise self.broken
                yield event
        finally:
            self.watchers.remove(watcher)

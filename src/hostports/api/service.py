"""What the API serves, as a small interface: the daemon is the real one, tests have a fake."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol as Interface

from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.engine.registry import PortsRequest, Published
from hostports.model.event import Event, Finding
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, PortSpec, SocketAddress
from hostports.model.published import Plan, PublishedPort


class Page(Interface):
    """A web page that shows what is published."""

    @property
    def url(self) -> str:
        """Where it is, with the token that opens it."""
        ...

    async def ended(self) -> None:
        """Wait until it is taken off. Raises `PageFailed` if it ended otherwise."""
        ...


class Service(Interface):
    """A host's networks, endpoints and published ports. All raise `HostportsError`."""

    async def networks(self) -> Sequence[BridgeNetwork]:
        """All networks."""
        ...

    async def network(self, name: str) -> BridgeNetwork:
        """A network by its name."""
        ...

    async def create_network(self, request: NetworkRequest) -> BridgeNetwork:
        """Create a network."""
        ...

    async def remove_network(self, name: str, *, force: bool) -> None:
        """Remove a network; with `force` also its endpoints."""
        ...

    async def endpoints(self, network: str | None = None) -> Sequence[Endpoint]:
        """All endpoints, or those of a network."""
        ...

    async def endpoint(self, name: str) -> Endpoint:
        """An endpoint by its name."""
        ...

    async def followings(self, endpoint: str | None = None) -> Sequence[Following]:
        """What is published on whatever addresses an interface has, of one endpoint or of all."""
        ...

    async def lost(self, endpoint: str | None = None) -> Sequence[PortBinding]:
        """What is wanted and can't be had, of one endpoint or of all."""
        ...

    async def add_endpoint(self, request: EndpointRequest) -> Endpoint:
        """Add an endpoint."""
        ...

    async def remove_endpoint(self, name: str) -> None:
        """Unpublish an endpoint's ports and remove it."""
        ...

    async def publish(self, request: PortsRequest) -> Published:
        """Publish ports, all or none."""
        ...

    async def plan(self, request: PortsRequest) -> Plan:
        """What `publish` would do."""
        ...

    async def unpublish(
        self, endpoint: str, specs: Sequence[PortSpec] | None, *, kill: bool
    ) -> Sequence[PortBinding]:
        """Take ports back: what specs mean, or everything (None); what that was.

        With `kill` established TCP connections end, too.
        """
        ...

    async def ports(self, endpoint: str | None = None) -> Sequence[PublishedPort]:
        """What is published, of all endpoints or one, with what has passed."""
        ...

    async def reload(self) -> None:
        """Make the firewall anew."""
        ...

    async def doctor(self) -> Sequence[Finding]:
        """What on this host keeps published ports from being reached, and the mend."""
        ...

    def page(self, port: int) -> AbstractAsyncContextManager[Page]:
        """A web page on a port of loopback, 0 for a free one, that is served in a `with` block."""
        ...

    async def end_pages(self) -> None:
        """Take all pages off, whoever has asked for them."""
        ...

    def trace(self, to: SocketAddress, seconds: float, *, probe: bool) -> AsyncGenerator[str, None]:
        """A real packet's way to an address, sentence by sentence; the first one comes at once.

        It waits so many seconds for somebody's packet, or, with `probe`, sends one itself.
        """
        ...

    def events(self) -> AsyncIterator[Event]:
        """What happens from now on, until whoever watches has enough."""
        ...

"""The registry as the API serves it: changes one at a time, off the event loop, each an event."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from functools import partial
from time import monotonic
from typing import Final, TypeVar

from hostports.core.doctor.findings import Record, findings
from hostports.core.doctor.trace import Story, waiting
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.daemon.events import EventBus
from hostports.daemon.memory import give_back
from hostports.daemon.pages import Pages, ServedPage
from hostports.engine.follow import follow
from hostports.engine.heal import detached, forget_strays, heal_links
from hostports.engine.registry import PortsRequest, Published, Registry
from hostports.engine.restore import Lost
from hostports.errors import AddressNotOnHost, HostportsError, RelayFailed, ReleaseFailed
from hostports.interfaces import Inspection, Tracing
from hostports.model.event import Event, Finding, Happening
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, PortSpec, SocketAddress
from hostports.model.published import Plan, PublishedPort

log: Final = logging.getLogger("hostports")
Result = TypeVar("Result")
#: Bindings of one request that leave megabytes behind.
_LARGE: Final = 1_000
#: Flows are looked at so often at most, at so many seconds' distance: what the relay has still to
#: answer makes one anew. A container that sends all the time to its own bridge's port begins one
#: through the relay again and again, and is right to.
_MOST_LOOKS: Final = 10
_LAST_ANSWERS_S: Final = 0.1
#: Seconds between looks whether an address is there. To try costs little, and tells more than
#: netlink does: an IPv6 address may be there and not be usable yet.
_ADDRESS_GLANCE_S: Final = 0.2


class RegistryService:
    """`Service` on a registry.

    One thread makes all changes, so that none meets another halfway; reading waits for nobody.
    """

    def __init__(self, registry: Registry, inspection: Inspection, tracing: Tracing) -> None:
        self.registry = registry
        self.bus = EventBus()
        #: Whether firewalld drops what others than itself forward; it tells, where it is.
        self.strict_forward_ports = False
        #: Set by every event; whoever waits for the next one clears it.
        self.changed = asyncio.Event()
        self._inspection = inspection
        self._pages = Pages(self.ports)
        self._tracing = tracing
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="changes")

    def close(self) -> None:
        """Wait for what is being changed, and hang up on all who watch."""
        self.bus.close()
        self._changes.shutdown()

    async def change(self, step: Callable[[], Result]) -> Result:
        """Make a change when those before it are made, also if nobody waits for it any more."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._changes, step))

    def tell(
        self,
        what: Happening,
        *,
        network: str = "",
        endpoint: str = "",
        bindings: Sequence[PortBinding] = (),
        message: str = "",
    ) -> None:
        """Tell all who watch what has happened."""
        now = self.registry.edges.clock.now()
        self.bus.publish(Event(what, now, network, endpoint, tuple(bindings), message))
        self.changed.set()

    async def networks(self) -> Sequence[BridgeNetwork]:
        """All networks."""
        return self.registry.networks()

    async def network(self, name: str) -> BridgeNetwork:
        """A network by its name."""
        return self.registry.network(name)

    async def create_network(self, request: NetworkRequest) -> BridgeNetwork:
        """Create a network."""
        network = await self.change(partial(self.registry.create_network, request))
        self.tell(Happening.NETWORK_CREATED, network=network.name)
        return network

    async def remove_network(self, name: str, *, force: bool) -> None:
        """Remove a network; with `force` also its endpoints."""
        bindings = [each for each in self.registry.engine.published() if each.network == name]
        with self._told_of(bindings, Happening.NETWORK_REMOVED, network=name):
            await self.change(partial(self.registry.remove_network, name, force=force))

    async def endpoints(self, network: str | None = None) -> Sequence[Endpoint]:
        """All endpoints, or those of a network."""
        return self.registry.endpoints(network)

    async def endpoint(self, name: str) -> Endpoint:
        """An endpoint by its name."""
        return self.registry.endpoint(name)

    async def followings(self, endpoint: str | None = None) -> Sequence[Following]:
        """What is published on whatever addresses an interface has, of one endpoint or of all."""
        return self.registry.followings(endpoint)

    async def lost(self, endpoint: str | None = None) -> Sequence[PortBinding]:
        """What is wanted and can't be had, of one endpoint or of all."""
        lost = [each.binding for each in self.registry.lost]
        return [each for each in lost if endpoint in (None, each.endpoint)]

    async def add_endpoint(self, request: EndpointRequest) -> Endpoint:
        """Add an endpoint."""
        endpoint = await self.change(partial(self.registry.add_endpoint, request))
        self.tell(Happening.ENDPOINT_ADDED, network=request.network, endpoint=endpoint.name)
        return endpoint

    async def remove_endpoint(self, name: str) -> None:
        """Unpublish an endpoint's ports and remove it."""
        network = self.registry.endpoint(name).network.name
        bindings = self.registry.engine.published(name)
        with self._told_of(bindings, Happening.ENDPOINT_REMOVED, network=network, endpoint=name):
            await self.change(partial(self.registry.remove_endpoint, name))

    async def publish(self, request: PortsRequest) -> Published:
        """Publish ports, all or none; what else is asked for meanwhile need not wait."""
        published = await self._published(request)
        bindings = [each.binding for each in published.ports]
        self.tell(Happening.PORTS_PUBLISHED, endpoint=request.endpoint, bindings=bindings)
        await self._tidy_up(len(bindings))
        return published

    async def _published(self, request: PortsRequest) -> Published:
        """Try until the host has all addresses that are asked for, as long as that may take."""
        deadline = monotonic() + request.wait_address_s
        while True:
            try:
                return await self.change(partial(self.registry.publish, request))
            except AddressNotOnHost as error:
                if not request.wait_address_s:
                    error.offer_to_wait()
                left = deadline - monotonic()
                if left <= 0:
                    raise
            await asyncio.sleep(min(left, _ADDRESS_GLANCE_S))

    async def plan(self, request: PortsRequest) -> Plan:
        """What `publish` would do."""
        return await self.change(partial(self.registry.plan, request))

    async def unpublish(
        self, endpoint: str, specs: Sequence[PortSpec] | None, *, kill: bool
    ) -> Sequence[PortBinding]:
        """Take ports back: what specs mean, or everything."""
        gone, failure = await self.change(partial(self._unpublish, endpoint, specs, kill=kill))
        self.tell_ports(Happening.PORTS_UNPUBLISHED, gone)
        if failure:
            raise failure
        await self._tidy_up(len(gone))
        return gone

    def _unpublish(
        self, endpoint: str, specs: Sequence[PortSpec] | None, *, kill: bool
    ) -> tuple[list[PortBinding], ReleaseFailed | None]:
        before = self.registry.engine.published(endpoint)
        try:
            return self.registry.unpublish(endpoint, specs, kill=kill), None
        except ReleaseFailed as failure:
            return self._gone(before), failure

    async def follow(self) -> bool:
        """Publish on the addresses that followed interfaces have now, and on no others of theirs.

        Whether nothing went wrong; else that is logged.
        """
        followed = await self.change(partial(follow, self.registry))
        said = "a followed interface has it no longer"
        self.tell_ports(Happening.PORTS_UNPUBLISHED, followed.unpublished, said)
        said = "a followed interface has it now"
        self.tell_ports(Happening.PORTS_PUBLISHED, followed.published, said)
        self.tell_lost(followed.lost)
        for failure in followed.failures:
            log.warning("ports don't follow their interfaces yet: %s", failure)
        return not followed.failures

    def tell_lost(self, lost: Iterable[Lost]) -> None:
        """Tell of bindings that are wanted and can't be had, each with its reason."""
        for each in lost:
            log.error("%s is lost: %s", each.binding, each.error)
            self.tell(
                Happening.PORTS_LOST,
                endpoint=each.binding.endpoint,
                bindings=[each.binding],
                message=str(each.error),
            )

    @contextmanager
    def _told_of(
        self, bindings: Sequence[PortBinding], what: Happening, *, network: str, endpoint: str = ""
    ) -> Iterator[None]:
        """Tell of a removal; of one that went wrong, what of it is gone nevertheless."""
        failure: ReleaseFailed | None = None
        try:
            yield
        except ReleaseFailed as error:
            failure = error
        self.tell_ports(Happening.PORTS_UNPUBLISHED, self._gone(bindings))
        there = self.registry.endpoints() if endpoint else self.registry.networks()
        if (endpoint or network) not in {each.name for each in there}:
            self.tell(what, network=network, endpoint=endpoint)
        if failure:
            raise failure

    def _gone(self, before: Iterable[PortBinding]) -> list[PortBinding]:
        """What is published no longer."""
        there = set(self.registry.engine.published())
        return [each for each in before if each not in there]

    def tell_ports(
        self, what: Happening, bindings: Iterable[PortBinding], message: str = ""
    ) -> None:
        """Tell what has happened to bindings, once for each endpoint."""
        by_endpoint = defaultdict[str, list[PortBinding]](list)
        for each in bindings:
            by_endpoint[each.endpoint].append(each)
        for name, some in by_endpoint.items():
            self.tell(what, endpoint=name, bindings=some, message=message)

    async def _tidy_up(self, bindings: int) -> None:
        if bindings >= _LARGE:
            await self.change(give_back)

    async def ports(self, endpoint: str | None = None) -> Sequence[PublishedPort]:
        """What is published, of all endpoints or one, with what has passed."""
        return await asyncio.to_thread(self.registry.ports, endpoint)

    async def forget_strays(self) -> int:
        """Let flows that began while rules were away meet them, until a look finds none.

        How many there were. Raises `ConntrackFailed` or `NotPermitted`.
        """
        forgotten = 0
        for _ in range(_MOST_LOOKS):
            found = await asyncio.to_thread(forget_strays, self.registry)
            if not found:
                break
            forgotten += found
            await asyncio.sleep(_LAST_ANSWERS_S)
        return forgotten

    async def reload(self) -> None:
        """Make the firewall anew, and bridges, their addresses and cables where they are missing.

        What can't be attached again, as its namespace has gone, is told in the event.
        """
        await self.change(self.registry.reload)
        await self.forget_strays()
        made, failures = await self.change(partial(heal_links, self.registry, [""]))
        said = [*(f"restored: {each}" for each in made), *map(str, failures)]
        self.tell(Happening.FIREWALL_REBUILT, message="; ".join(said))

    async def doctor(self) -> Sequence[Finding]:
        """What on this host keeps published ports from being reached, and the mend."""
        found = await asyncio.to_thread(self._findings)
        await self._tidy_up(len(self.registry.engine.published()))
        return found

    def _findings(self) -> Sequence[Finding]:
        registry, relay = self.registry, self.registry.edges.relay
        silent: HostportsError | None = None
        try:
            if relay is not None:
                relay.held()
        except RelayFailed as error:
            silent = error
        record = Record(
            registry.networks(),
            registry.endpoints(),
            registry.engine.published(),
            [(each.binding, each.error) for each in registry.lost],
            relay is not None,
            silent,
            self.strict_forward_ports,
            detached(registry),
            registry.followings(),
        )
        namespaces = {each.namespace for each in record.endpoints if each.namespace}
        return findings(self._inspection.read(namespaces), record)

    async def trace(
        self, to: SocketAddress, seconds: float, *, probe: bool
    ) -> AsyncGenerator[str, None]:
        """A real packet's way to an address, sentence by sentence."""
        story = Story(to.protocol, probe)
        async with aclosing(self._tracing.follow(to, seconds, probe=probe)) as lines:
            async for line in lines:
                if not line:
                    yield waiting(to, seconds)
                for sentence in story.told(line):
                    yield sentence
        for sentence in story.end():
            yield sentence

    def page(self, port: int) -> AbstractAsyncContextManager[ServedPage]:
        """A web page on a port of loopback."""
        return self._pages.opened(port)

    async def end_pages(self) -> None:
        """Take all pages off."""
        self._pages.end()

    def events(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        return self.bus.watch()

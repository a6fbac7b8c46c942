"""What each route does: ask the service, and say what it said."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hostports.api import convert, metrics, schema, words
from hostports.api.route import Call
from hostports.api.service import Page, Service
from hostports.core.showing import shown
from hostports.model.event import Event, Happening
from hostports.model.network import BridgeNetwork
from hostports.model.port import SocketAddress
from hostports.model.published import Ways


async def list_networks(call: Call[schema.Nothing]) -> schema.Networks:
    """All networks."""
    return convert.networks(await call.service.networks())


async def create_network(call: Call[schema.CreateNetwork]) -> schema.Network:
    """A new network."""
    return convert.network(await call.service.create_network(convert.network_request(call.asked)))


async def inspect_network(call: Call[schema.Nothing]) -> schema.Network:
    """One network."""
    return convert.network(await call.service.network(call.name))


async def remove_network(call: Call[schema.RemoveNetwork]) -> None:
    """A network less."""
    await call.service.remove_network(call.name, force=call.asked.force)


async def list_endpoints(call: Call[schema.Nothing]) -> schema.Endpoints:
    """All endpoints."""
    return await _endpoints(call.service)


async def list_network_endpoints(call: Call[schema.Nothing]) -> schema.Endpoints:
    """Those of one network."""
    return await _endpoints(call.service, call.name)


async def _endpoints(service: Service, network: str | None = None) -> schema.Endpoints:
    found = await service.endpoints(network)
    return convert.endpoints(found, await service.followings(), await service.lost())


async def add_endpoint(call: Call[schema.AddEndpoint]) -> schema.Endpoint:
    """A new endpoint."""
    request = convert.endpoint_request(call.name, call.asked)
    return convert.endpoint(await call.service.add_endpoint(request))


async def inspect_endpoint(call: Call[schema.Nothing]) -> schema.Endpoint:
    """One endpoint."""
    endpoint = await call.service.endpoint(call.name)
    followings, lost = await call.service.followings(call.name), await call.service.lost(call.name)
    return convert.endpoint(endpoint, followings, lost)


async def remove_endpoint(call: Call[schema.Nothing]) -> None:
    """An endpoint less."""
    await call.service.remove_endpoint(call.name)


async def list_ports(call: Call[schema.Nothing]) -> schema.Bindings:
    """Everything that is published."""
    return convert.bindings(await call.service.ports())


async def list_endpoint_ports(call: Call[schema.Nothing]) -> schema.Bindings:
    """What one endpoint has published."""
    return convert.bindings(await call.service.ports(call.name))


async def publish_ports(call: Call[schema.PublishPorts]) -> schema.Published:
    """Ports of an endpoint, published."""
    request = convert.ports_request(call.name, call.asked)
    return convert.published(await call.service.publish(request))


async def unpublish_ports(call: Call[schema.UnpublishPorts]) -> schema.Bindings:
    """Ports of an endpoint, taken back."""
    specs = convert.unpublished(call.asked)
    endpoint = await call.service.endpoint(call.name)
    gone = await call.service.unpublish(call.name, specs, kill=call.asked.kill)
    now = datetime.now(UTC)
    ways = call.serving.ways
    return convert.bindings(shown(each, endpoint.network, now, ways) for each in gone)


async def plan_ports(call: Call[schema.PlanPorts]) -> schema.Plan:
    """What publishing would do."""
    request = convert.ports_request(call.asked.endpoint, call.asked)
    endpoint = await call.service.endpoint(request.endpoint)
    planned = await call.service.plan(request)
    return convert.plan(planned, endpoint.network, datetime.now(UTC), call.serving.ways)


async def open_page(call: Call[schema.OpenPage]) -> AsyncGenerator[schema.Page, None]:
    """A web page, for as long as its URL is listened to."""
    page = await call.afterwards.enter_async_context(call.service.page(call.asked.port))
    return _served(page)


async def _served(page: Page) -> AsyncGenerator[schema.Page, None]:
    yield schema.Page(url=page.url)
    await page.ended()


async def end_pages(call: Call[schema.Nothing]) -> None:
    """No web page any more."""
    await call.service.end_pages()


async def reload(call: Call[schema.Nothing]) -> None:
    """The firewall, anew."""
    await call.service.reload()


async def doctor(call: Call[schema.Nothing]) -> schema.Findings:
    """What is wrong with this host."""
    return convert.findings(await call.service.doctor())


async def trace(call: Call[schema.Trace]) -> AsyncGenerator[schema.Told, None]:
    """A packet's way; what can't be followed is refused before the first sentence."""
    asked = call.asked
    to = SocketAddress(asked.protocol, words.address(asked.address), asked.port)
    sentences = call.service.trace(to, asked.seconds, probe=asked.probe)
    return _story(await anext(sentences), sentences)


async def _story(
    first: str, others: AsyncGenerator[str, None]
) -> AsyncGenerator[schema.Told, None]:
    async with aclosing(others):
        yield schema.Told(sentence=first)
        async for sentence in others:
            yield schema.Told(sentence=sentence)


async def health(call: Call[schema.Nothing]) -> schema.Health:
    """That somebody answers."""
    return schema.Health(status="ok", version=call.serving.version)


async def expose_metrics(call: Call[schema.Nothing]) -> bytes:
    """Figures for Prometheus."""
    return await metrics.exposed(call.service, call.serving.version)


async def watch(call: Call[schema.Nothing]) -> AsyncGenerator[schema.Event, None]:
    """What happens from the first step of the iteration on."""
    return _happening(call)


async def _happening(call: Call[schema.Nothing]) -> AsyncGenerator[schema.Event, None]:
    narrator = _Narrator(call.service, call.serving.ways)
    events = call.service.events()
    try:
        async for event in events:
            yield await narrator.told(event)
    finally:
        # A loop that is left early does not end the iterator that it went through.
        if isinstance(events, AsyncGenerator):
            await events.aclose()


@dataclass(slots=True)
class _Narrator:
    """Tells of events, whose bindings need their networks to be shown.

    A network is remembered: when its ports are told to be gone, it may be gone, too.
    """

    service: Service
    ways: Ways
    _networks: dict[str, BridgeNetwork] = field(default_factory=dict)

    async def told(self, event: Event) -> schema.Event:
        """An event as it is shown."""
        named = {each.network for each in event.bindings}
        if event.what is Happening.NETWORK_CREATED or not named <= self._networks.keys():
            self._networks |= {each.name: each for each in await self.service.networks()}
        ports = (
            shown(each, self._network(each.network), event.at, self.ways) for each in event.bindings
        )
        return convert.event(event, tuple(map(convert.binding, ports)))

    def _network(self, name: str) -> BridgeNetwork:
        return self._networks.get(name) or BridgeNetwork(name)

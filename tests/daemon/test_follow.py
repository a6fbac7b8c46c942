"""The daemon's part of following interfaces, on fakes that tell of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address

import pytest

from hostports import Protocol, parse_spec
from hostports.daemon.follow import Follower
from hostports.daemon.service import RegistryService
from hostports.engine.registry import PortsRequest
from hostports.model.event import Event, Happening
from hostports.model.host import InterfaceAddress
from hostports.testing import FakeInspection, FakeTracing, FakeWatch
from tests.engine.test_registry import ADDRESSES, Site
from tests.relay.waiting import PATIENCE_S

ONE, OTHER = ADDRESSES[2], ADDRESSES[0]
#: What no test waits for.
LONG_S = 3600.0


class Host(Site):
    """A host whose eth0 has the addresses that a test wants, and says so if it wants."""

    service: RegistryService

    def has(self, *ips: object) -> None:
        self.facts.interfaces["eth0"] = [InterfaceAddress(ip_address(str(each))) for each in ips]


def scene(
    play: Callable[[Host, FakeWatch[str], AsyncIterator[Event]], Awaitable[None]],
    look_s: float = LONG_S,
) -> None:
    """Play on a host with a port that follows eth0, which has `ONE`."""

    async def run() -> None:
        host, watch = Host(), FakeWatch[str]()
        host.web()
        host.has(ONE)
        service = host.service = RegistryService(host.registry, FakeInspection(), FakeTracing())
        await service.publish(PortsRequest("web", parse_spec("eth0:8080:80")))
        following = asyncio.ensure_future(Follower(service, watch, look_s).run())
        await asyncio.wait_for(play(host, watch, service.events()), PATIENCE_S)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        service.close()
        watch.close()

    asyncio.run(run())


def test_what_comes_and_goes_is_told() -> None:
    async def play(host: Host, watch: FakeWatch[str], events: AsyncIterator[Event]) -> None:
        host.has(OTHER)
        watch.tell(["an address is new"])
        gone, come = await anext(events), await anext(events)
        assert (gone.what, come.what) == (Happening.PORTS_UNPUBLISHED, Happening.PORTS_PUBLISHED)
        assert [each.host_ip for each in gone.bindings] == [ONE]
        assert [each.host_ip for each in come.bindings] == [OTHER]
        assert (gone.endpoint, come.endpoint) == ("web", "web")
        assert "interface" in gone.message
        assert "interface" in come.message

    scene(play)


def test_what_was_asked_for_otherwise_too_is_published_again_at_once() -> None:
    async def play(host: Host, _: FakeWatch[str], events: AsyncIterator[Event]) -> None:
        spec = parse_spec(f"{OTHER}:8080:80")
        await host.service.publish(PortsRequest("web", spec))
        host.has(ONE, OTHER)
        assert await host.service.follow()
        await host.service.unpublish("web", spec, kill=False)
        told = [await anext(events) for _ in range(3)]
        assert [each.what.value for each in told] == [
            *("ports.published", "ports.unpublished", "ports.published")
        ]
        assert [each.host_ip for each in told[-1].bindings] == [OTHER]

    scene(play)


def test_what_nobody_told_of_is_seen_by_looking() -> None:
    async def play(host: Host, _: FakeWatch[str], events: AsyncIterator[Event]) -> None:
        host.has()
        assert (await anext(events)).what is Happening.PORTS_UNPUBLISHED

    scene(play, look_s=0.01)


def test_what_fails_is_tried_again_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def play(host: Host, watch: FakeWatch[str], events: AsyncIterator[Event]) -> None:
        host.faults.failing = {"facts.addresses": [1 + host.faults.calls.count("facts.addresses")]}
        host.has(ONE, OTHER)
        watch.tell(["an address is new"])
        assert (await anext(events)).what is Happening.PORTS_PUBLISHED

    scene(play)
    assert "ports don't follow their interfaces yet: injected" in caplog.text


def test_what_is_lost_is_told_with_its_reason() -> None:
    async def play(host: Host, watch: FakeWatch[str], events: AsyncIterator[Event]) -> None:
        host.kernel.listen(host.kernel.open(Protocol.TCP, OTHER, 8080, reuseaddr=True))
        host.has(ONE, OTHER)
        watch.tell(["an address is new"])
        event = await anext(events)
        assert event.what is Happening.PORTS_LOST
        assert "held by" in event.message

    scene(play)

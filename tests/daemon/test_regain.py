"""Lost ports are tried again as long as the daemon lives."""

import asyncio
from collections.abc import AsyncIterator, Callable

from hostports.daemon.regain import Regainer
from hostports.daemon.service import RegistryService
from hostports.model.event import Event, Happening
from hostports.testing import FakeInspection, FakeTracing
from tests.engine.test_registry import Site, with_a_lost_port
from tests.relay.waiting import PATIENCE_S

#: A pause that no test waits for.
LONG_S = 3600.0


def regained(site: Site, pause_s: float, meanwhile: Callable[[RegistryService], None]) -> Event:
    """The event that tells of what was regained, after something has happened meanwhile."""

    async def scene() -> Event:
        service = RegistryService(site.registry, FakeInspection(), FakeTracing())
        events = service.events()
        trying = asyncio.ensure_future(Regainer(service, pause_s).run())
        await asyncio.sleep(0.05)
        assert site.registry.lost
        meanwhile(service)
        found = await asyncio.wait_for(first(events), PATIENCE_S)
        trying.cancel()
        service.close()
        return found

    return asyncio.run(scene())


async def first(events: AsyncIterator[Event]) -> Event:
    async for each in events:
        if each.what is Happening.PORTS_REGAINED:
            return each
    raise AssertionError("nothing was regained")


def freed(site: Site) -> Callable[[RegistryService], None]:
    return lambda _: site.free()


def test_a_port_is_regained_after_a_pause_though_nobody_tells_that_it_is_free() -> None:
    site = with_a_lost_port()
    event = regained(site, 0.01, freed(site))
    assert [str(each.host_socket) for each in event.bindings] == ["0.0.0.0:8080/tcp"]
    assert event.endpoint == "web"
    assert site.registry.lost == []


def test_a_change_is_reason_enough_to_try_again() -> None:
    site = with_a_lost_port()

    def change(service: RegistryService) -> None:
        site.free()
        service.tell(Happening.PORTS_UNPUBLISHED)

    assert regained(site, LONG_S, change).endpoint == "web"


def test_what_fails_is_tried_again() -> None:
    site = with_a_lost_port()

    def fail_once(_: RegistryService) -> None:
        site.free()
        site.faults.failing = {"relay.add": [1 + site.faults.calls.count("relay.add")]}

    assert regained(site, 0.01, fail_once).endpoint == "web"
    assert site.registry.lost == []

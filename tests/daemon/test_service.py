"""What the daemon tells of releases that go wrong: what is gone, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hostports.daemon.service import RegistryService
from hostports.errors import HostportsError
from hostports.model.event import Event
from hostports.testing import EVERY, FakeInspection, FakeTracing
from tests.engine.test_registry import Site


def told(site: Site, release: Callable[[RegistryService], Awaitable[object]]) -> list[str]:
    """The events of a release that fails."""

    async def scene() -> list[Event]:
        service = RegistryService(site.registry, FakeInspection(), FakeTracing())
        events = service.events()
        with pytest.raises(HostportsError, match="injected"):
            await release(service)
        service.close()
        return [each async for each in events]

    return [
        " ".join([each.what.value, *(str(one.host_port) for one in each.bindings)])
        for each in asyncio.run(scene())
    ]


@pytest.fixture
def site() -> Site:
    made = Site()
    made.web()
    made.publish("127.0.0.1:8080:80")
    return made


RELEASES: dict[str, Callable[[RegistryService], Awaitable[object]]] = {
    "ports": lambda service: service.unpublish("web", None, kill=False),
    "endpoint": lambda service: service.remove_endpoint("web"),
    "network": lambda service: service.remove_network("lab", force=True),
}


@pytest.mark.parametrize(
    ("what", "also"),
    [("ports", []), ("endpoint", ["endpoint.removed"]), ("network", ["network.removed"])],
)
def test_what_is_gone_is_told_though_something_is_left_behind(
    site: Site, what: str, also: list[str]
) -> None:
    site.faults.failing = {"relay.remove": [EVERY]}
    assert told(site, RELEASES[what]) == ["ports.unpublished 8080", *also]


@pytest.mark.parametrize("what", RELEASES)
def test_what_stays_as_it_can_not_be_struck_out_is_not_told(site: Site, what: str) -> None:
    site.faults.failing = {"store.record": [EVERY]}
    assert told(site, RELEASES[what]) == []

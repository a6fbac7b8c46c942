"""What the daemon does about changes that others make, on fakes that tell of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from select import select
from time import monotonic

import pytest

from hostports import Edges, Engine, parse_spec
from hostports.core.healing import Healing
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.daemon.service import RegistryService
from hostports.daemon.watch import Watcher
from hostports.engine.registry import PortsRequest, Registry
from hostports.errors import FirewallFailed
from hostports.model.event import Event, Happening
from hostports.model.firewall import Damage
from hostports.model.flow import Flow
from hostports.testing import (
    EVERY,
    FakeConntrack,
    FakeFirewall,
    FakeHostFacts,
    FakeHostSockets,
    FakeInspection,
    FakeKernel,
    FakeLinks,
    FakeRelay,
    FakeTracing,
    FakeWatch,
    Faults,
)
from tests.relay.waiting import PATIENCE_S

NETNS = "/run/netns/web"


@dataclass
class Host:
    """Fakes, and a watcher on them; `events` is what has been told."""

    faults: Faults
    firewall: FakeFirewall
    links: FakeLinks
    conntrack: FakeConntrack
    rules: FakeWatch[Damage]
    gone: FakeWatch[str]
    service: RegistryService
    watcher: Watcher
    events: list[Event]

    def rebuilt(self) -> list[str]:
        """What was said of each healing."""
        return [each.message for each in self.events if each.what is Happening.FIREWALL_REBUILT]


@asynccontextmanager
async def host(
    healing: Healing | None = None,
    look_s: float = 1000,
    firewall_of: Callable[[Faults], FakeFirewall] = FakeFirewall,
) -> AsyncIterator[Host]:
    faults = Faults()
    firewall, links, conntrack = firewall_of(faults), FakeLinks(), FakeConntrack(faults=faults)
    kernel = FakeKernel([ip_address("127.0.0.1"), ip_address("10.9.0.1")])
    edges = Edges(
        *(FakeHostFacts(), FakeHostSockets(kernel), firewall, FakeRelay()),
        conntrack=conntrack,
        links=links,
    )
    service = RegistryService(Registry(Engine(edges)), FakeInspection(), FakeTracing())
    rules, gone = FakeWatch[Damage](), FakeWatch[str]()
    watcher = Watcher(service, rules, gone, healing, look_s=look_s)
    made = Host(faults, firewall, links, conntrack, rules, gone, service, watcher, [])
    listening = asyncio.ensure_future(_listen(made))
    await service.create_network(NetworkRequest("lab"))
    await service.add_endpoint(EndpointRequest("lab", "web", NETNS))
    await service.publish(PortsRequest("web", [*parse_spec("8080:80"), *parse_spec("5353:53/udp")]))
    watcher.start()
    try:
        yield made
    finally:
        await watcher.stop()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        service.close()
        rules.close()
        gone.close()


async def _listen(made: Host) -> None:
    async for event in made.service.events():
        made.events.append(event)


async def until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.002)


def on_a_host(test: Callable[[Host], Awaitable[None]], healing: Healing | None = None) -> None:
    async def run() -> None:
        async with host(healing) as made:
            await test(made)

    asyncio.run(run())


def test_what_others_delete_comes_back_and_the_event_says_what_was_found() -> None:
    async def test(made: Host) -> None:
        before = made.firewall.dump()
        made.firewall.flush()
        made.rules.tell([Damage(("table inet hostports deleted by nft (pid 812)",))])
        await until(made.rebuilt)
        assert made.firewall.dump() == before
        assert made.rebuilt() == ["table inet hostports deleted by nft (pid 812)"]

    on_a_host(test)


class HealedInParts(FakeFirewall):
    """A firewall of which somebody has flushed more than the parts that are told."""

    def rebuild(self, parts: Set[str] = frozenset()) -> None:
        still_flushed = self._flushed and bool(parts)
        super().rebuild(parts)
        self._flushed = still_flushed


def test_what_a_look_finds_while_something_else_is_being_healed_is_healed_after_it() -> None:
    async def run() -> None:
        async with host(firewall_of=HealedInParts) as made:
            before = made.firewall.dump()
            made.firewall.flush()
            made.faults.failing = {
                "firewall.rebuild": [made.faults.calls.count("firewall.rebuild") + 1]
            }
            made.rules.tell([Damage(("rules of early deleted",), frozenset({"early"}))])
            await until(lambda: made.faults.calls.count("firewall.rebuild"))
            made.watcher.look("somebody says so")
            await until(lambda: made.firewall.dump() == before)

    asyncio.run(run())


def test_our_own_changes_heal_nothing() -> None:
    async def test(made: Host) -> None:
        await made.service.publish(PortsRequest("web", parse_spec("9000-9099:9000-9099")))
        await made.service.remove_endpoint("web")
        made.gone.tell(["hpv-web"])
        await made.service.remove_network("lab", force=False)
        await until(lambda: any(e.what is Happening.NETWORK_REMOVED for e in made.events))
        assert made.firewall.rebuilt == 0
        assert not any(each.what is Happening.LINKS_RESTORED for each in made.events)

    on_a_host(test)


def test_who_fights_with_us_is_told_once_and_does_not_make_us_spin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(made: Host) -> None:
        for number in range(200):
            made.rules.tell([Damage((f"change {number}",))])
            await asyncio.sleep(0.001)
        await until(lambda: made.firewall.rebuilt == 3)
        await until(lambda: "again and again" in caplog.text)
        await asyncio.sleep(0.05)
        assert made.firewall.rebuilt == 3
        assert caplog.text.count("again and again") == 1

    with caplog.at_level(logging.INFO):
        on_a_host(test, Healing(burst=3, earned_s=1000))


def test_what_can_not_be_healed_yet_is_tried_again() -> None:
    async def test(made: Host) -> None:
        made.faults.failing = {"firewall.rebuild": (EVERY,)}
        made.rules.tell([Damage(("chain early deleted",))])
        await asyncio.sleep(0.05)
        assert made.rebuilt() == []
        made.faults.failing = {}
        await until(made.rebuilt)
        assert made.rebuilt() == ["chain early deleted"]

    on_a_host(test)


def test_flows_that_began_without_rules_meet_them_now() -> None:
    client, here = ip_address("10.9.0.2"), ip_address("10.9.0.1")
    lost = Flow(17, client, here, 5353, answered_by=here, answered_to=client, to_host=True)

    async def test(made: Host) -> None:
        made.conntrack.flows = [lost]
        made.rules.tell([Damage(("table inet hostports deleted",))])
        await until(lambda: not made.conntrack.flows)

    on_a_host(test)


def test_rules_stay_healed_where_flows_can_not_be_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(made: Host) -> None:
        made.faults.failing = {"conntrack.forget": (EVERY,)}
        made.rules.tell([Damage(("table inet hostports deleted",))])
        await until(lambda: "may go on" in caplog.text)
        assert made.firewall.rebuilt == 1

    on_a_host(test)


def test_what_nobody_told_of_is_found_by_looking() -> None:
    async def run() -> None:
        async with host(look_s=0.01) as made:
            await asyncio.sleep(0.05)
            assert made.firewall.rebuilt == 0
            made.firewall.flush()
            await until(made.rebuilt)
            assert made.rebuilt() == ["found by looking: everything is missing"]

    asyncio.run(run())


def test_a_bridge_that_others_remove_is_made_again_with_its_cables() -> None:
    async def test(made: Host) -> None:
        before = made.links.dump()
        (network,) = made.service.registry.networks()
        made.links.remove_bridge(network)
        assert made.links.dump() != before
        made.gone.tell([network.bridge])
        await until(lambda: made.links.dump() == before)
        await until(lambda: made.events[-1].what is Happening.LINKS_RESTORED)
        assert network.bridge in made.events[-1].message

    on_a_host(test)


def test_a_bridge_that_has_lost_its_addresses_gets_them_again() -> None:
    async def test(made: Host) -> None:
        before = made.links.dump()
        (network,) = made.service.registry.networks()
        made.links.lay_bare(network.bridge)
        assert made.links.dump() != before
        made.gone.tell(["eth0", network.bridge])
        await until(lambda: made.links.dump() == before)
        await until(lambda: made.events[-1].what is Happening.LINKS_RESTORED)
        assert made.events[-1].message.endswith(f": bridge {network.bridge}")

    on_a_host(test)


def test_a_container_that_ends_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    async def test(made: Host) -> None:
        made.links.gone.add(NETNS)
        made.gone.tell(["hpv-web"])
        await until(lambda: "not attached any more" in caplog.text)
        assert {each.levelname for each in caplog.records} == {"INFO"}

    with caplog.at_level(logging.INFO):
        on_a_host(test)


def test_a_container_that_ends_and_is_removed_is_not_even_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As what `run` has started."""

    async def test(made: Host) -> None:
        await made.service.add_endpoint(EndpointRequest("lab", "db", "/run/netns/db"))
        made.links.gone |= {NETNS, "/run/netns/db"}
        made.gone.tell(["hpv-web", "hpv-db"])
        await until(lambda: not select([made.gone.fileno()], [], [], 0)[0])
        await made.service.remove_endpoint("web")
        await until(lambda: "not attached any more" in caplog.text)
        assert NETNS not in caplog.text

    with caplog.at_level(logging.INFO):
        on_a_host(test)


def test_a_reload_makes_everything_again() -> None:
    async def test(made: Host) -> None:
        before = made.links.dump(), made.firewall.dump()
        made.firewall.flush()
        (network,) = made.service.registry.networks()
        made.links.remove_bridge(network)
        await made.service.reload()
        assert (made.links.dump(), made.firewall.dump()) == before

    on_a_host(test)


def test_a_reload_that_fails_says_so() -> None:
    async def test(made: Host) -> None:
        made.faults.failing = {"firewall.rebuild": (EVERY,)}
        with pytest.raises(FirewallFailed):
            await made.service.reload()

    on_a_host(test)

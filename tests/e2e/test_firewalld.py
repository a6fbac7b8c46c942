"""firewalld beside us: Debian's, on a bus of the test's own, in the host's namespace.

Debian's 1.3 has no StrictForwardPorts; there a fake on the same bus speaks instead, and says so.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.bus import FIREWALLD, Bus, private_bus, real_firewalld, running, site_on
from tests.e2e.hammer import healings, wait_for
from tests.e2e.reload import FIREWALLS, beside_firewalld, explained, reload_again_and_again
from tests.e2e.site import Site, host_probe
from tests.netns.lab import Probe
from tests.netns.namespaces import nft
from tests.relay.waiting import eventually

ZONE, POLICY = "hostports", "hostports-forward"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with private_bus(tmp_path) as made:
        yield made


@pytest.fixture
def made(tmp_path: Path, bus: Bus) -> Iterator[Site]:
    """A host with Debian's firewalld, and a daemon with a network."""
    with ExitStack() as stack, site_on(bus, tmp_path, stack) as made:
        stack.enter_context(real_firewalld(bus, made.lab.namespaces["host"], tmp_path))
        made.daemon.start()
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        yield made


def zones(bus: Bus) -> list[str]:
    return list(bus.call(f"{FIREWALLD}.zone.getZones")[0])


def interfaces(bus: Bus) -> list[str]:
    if ZONE not in zones(bus):
        return []
    return list(bus.call(f"{FIREWALLD}.zone.getInterfaces", "s", ZONE)[0])


def bridge(made: Site) -> str:
    return str(made.client.network("nat")["bridge"])


def test_bridges_are_in_a_zone_of_ours_and_ports_are_reached(made: Site, bus: Bus) -> None:
    """Its default zone rejects what is forwarded."""
    eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["nat1"] * 2
    made.lab.serve("remote", "remote", [7000])
    assert made.answers(Probe("nat1", "10.9.0.2", 7000)) == ["remote"]


def test_a_bridge_leaves_the_zone_with_its_network(made: Site, bus: Bus) -> None:
    made.client.create_network("other")
    eventually(lambda: len(interfaces(bus)) == 2, "both bridges are in the zone")
    made.client.remove_network("other")
    eventually(lambda: interfaces(bus) == [bridge(made)], "one has left it")


def test_bridges_are_in_the_zone_again_after_a_reload_and_a_restart(made: Site, bus: Bus) -> None:
    eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")
    bus.call(f"{FIREWALLD}.reload")
    eventually(lambda: interfaces(bus) == [bridge(made)], "and again after a reload")
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    bus.call(f"{FIREWALLD}.zone.removeInterface", "ss", ZONE, bridge(made))
    bus.call(f"{FIREWALLD}.reload")
    eventually(lambda: interfaces(bus) == [bridge(made)], "and after somebody took it out")


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_new_clients_are_answered_again_after_each_reload(tmp_path: Path, firewall: str) -> None:
    """`make soak` reloads more often, and prints how long a port was away."""
    with beside_firewalld(tmp_path, firewall) as (made, bus):
        count = reload_again_and_again(made, bus, 2)
    assert count.lost, explained(firewall, count)  # else nothing was reloaded, or nobody asked


def test_what_is_missing_after_a_reload_is_made_again(made: Site, bus: Bus) -> None:
    """Its nftables backend leaves our table alone; so somebody else deletes it."""
    eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")
    with healings(made) as healed:
        with made.lab.namespaces["host"].entered():
            nft("delete table inet hostports")
        bus.call(f"{FIREWALLD}.reload")
        wait_for(healed)
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]


def test_nothing_of_ours_is_left_in_firewalld(made: Site, bus: Bus) -> None:
    eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")
    made.daemon.stop()
    made.daemon.start("--down-on-exit")
    made.daemon.stop()
    assert ZONE not in zones(bus)
    assert POLICY not in bus.call(f"{FIREWALLD}.policy.getPolicies")[0]


def test_a_bus_that_restarts_is_found_again(tmp_path: Path, bus: Bus) -> None:
    with ExitStack() as stack, site_on(bus, tmp_path, stack) as made:
        host = made.lab.namespaces["host"]
        made.daemon.start()
        made.client.create_network("nat")
        with real_firewalld(bus, host, tmp_path):
            eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")
        bus.stop()
        bus.start()
        stack.enter_context(real_firewalld(bus, host, tmp_path))
        eventually(lambda: interfaces(bus) == [bridge(made)], "in that of the new one, too")


def test_a_firewalld_of_another_namespace_guards_another_host(tmp_path: Path, bus: Bus) -> None:
    with ExitStack() as stack, site_on(bus, tmp_path, stack) as made:
        stack.enter_context(real_firewalld(bus, made.lab.namespaces["remote"], tmp_path))
        made.daemon.start()
        made.client.create_network("nat")
        bus.call(f"{FIREWALLD}.reload")
        made.client.create_network("other")
        assert ZONE not in zones(bus)


def test_strict_forward_ports_is_reported(tmp_path: Path, bus: Bus) -> None:
    """By a fake: Debian's firewalld is older than this setting."""
    with ExitStack() as stack, site_on(bus, tmp_path, stack) as made:
        fake = [sys.executable, "-m", "tests.e2e.fake_firewalld"]
        stack.enter_context(running(bus, made.lab.namespaces["host"], fake, {}))
        made.daemon.start()
        made.client.create_network("nat")

        def found() -> list[str]:
            return [each["what"] for each in made.client.doctor()["findings"]]

        eventually(lambda: any("StrictForwardPorts" in each for each in found()), "it is found")


def test_a_firewalld_that_refuses_is_asked_again(tmp_path: Path, bus: Bus) -> None:
    """By a fake, as Debian's does so only now and then: when others change rules meanwhile."""
    with ExitStack() as stack, site_on(bus, tmp_path, stack) as made:
        fake = [sys.executable, "-m", "tests.e2e.fake_firewalld", "busy"]
        stack.enter_context(running(bus, made.lab.namespaces["host"], fake, {}))
        made.daemon.start()
        made.client.create_network("nat")
        eventually(lambda: interfaces(bus) == [bridge(made)], "the bridge is in the zone")

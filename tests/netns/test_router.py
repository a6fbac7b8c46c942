"""A host that becomes a router, and one that routes directly to containers, on every firewall."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hostports.core.rules.data import Settings
from hostports.core.rules.settings import networks_of
from hostports.errors import FirewallFailed
from hostports.model.firewall import FirewallChange
from tests.netns.bare import BACKENDS, bare_lab, on_host
from tests.netns.firewall_checks import EVERYTHING, NOTHING, PATIENCE, SILENCE, RealFirewall
from tests.netns.lab import Lab, Probe
from tests.netns.namespaces import Namespace

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
#: From one neighbour to the other through the host, in both families.
TRANSIT = [Probe("client", "10.8.0.2", 7000), Probe("client", "fd08::2", 7000)]
OUT = [Probe("a1", "10.9.0.2", 7000), Probe("a1", "fd09::2", 7000)]


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    with bare_lab() as made:
        yield made


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Callable[[Settings | None], RealFirewall]:
    return BACKENDS[request.param]


def forwarding(bare: Lab) -> bool:
    with bare.namespaces["host"].entered():
        return FORWARDING.read_text(encoding="ascii") == "1\n"


def who(answers: list[str]) -> list[str]:
    return [each.partition(" ")[0] for each in answers]


def test_a_host_that_becomes_a_router_routes_only_for_containers(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    """Docker sets the policy of FORWARD to DROP for this; our rules need no policy."""
    assert not forwarding(bare)
    with on_host(bare, backend=backend):
        assert forwarding(bare)
        assert who(bare.ask(OUT, PATIENCE)) == ["client", "client"]
        assert bare.ask(TRANSIT, SILENCE) == [NOTHING, NOTHING]
        with bare.namespaces["host"].entered():
            backend(None).apply(EVERYTHING)  # a new daemon, forwarding being on by now
        assert bare.ask(TRANSIT, SILENCE) == [NOTHING, NOTHING]


def test_where_only_containers_are_routed_for_unprotected_ones_are_reached(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    with on_host(bare, backend=backend):
        probes = [Probe("client", ip, 81) for ip in ("172.34.0.2", "fd34::2")]
        assert who(bare.ask(probes, PATIENCE)) == ["u1", "u1"]


def test_direct_routing_reaches_published_ports_where_it_is_allowed(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    with on_host(bare, Settings(direct_routing=True), backend=backend):
        opened = [Probe("client", ip, 80) for ip in ("172.30.0.2", "fd30::2")]
        assert who(bare.ask(opened, PATIENCE)) == ["a1", "a1"]
        closed = [
            *(Probe("client", ip, 81) for ip in ("172.30.0.2", "fd30::2")),
            *(Probe("b1", ip, 80) for ip in ("172.30.0.2", "fd30::2")),
        ]
        assert bare.ask(closed, SILENCE) == [NOTHING] * len(closed)


def become_router(host: Namespace) -> None:
    host.sysctl("net.ipv4.ip_forward", "1")
    host.sysctl("net.ipv6.conf.all.forwarding", "1")


def test_a_host_that_was_a_router_stays_one(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    become_router(bare.namespaces["host"])
    with on_host(bare, backend=backend):
        assert who(bare.ask(TRANSIT, PATIENCE)) == ["trusted", "trusted"]


def test_so_does_one_that_others_make_a_router_before_a_network_of_ours_is_there(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    """Docker, or Podman, started or first used after our daemon."""

    def used_later(settings: Settings | None) -> RealFirewall:
        made = backend(settings)
        become_router(bare.namespaces["host"])
        return made

    with on_host(bare, backend=used_later):
        assert who(bare.ask(TRANSIT, PATIENCE)) == ["trusted", "trusted"]


def test_where_no_network_came_to_be_the_host_is_as_it_was(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    unbridged = replace(networks_of(EVERYTHING.opened)[0], name="unbridged", bridge="")
    with bare.namespaces["host"].entered():
        made = backend(None)
        before = made.listed()
        with pytest.raises(FirewallFailed, match="has no bridge"):
            made.apply(FirewallChange(opened=(*EVERYTHING.opened, unbridged)))
        assert made.listed() == before
        made.remove()
    assert not forwarding(bare)

"""A host that becomes a router, and one that routes directly to containers, on every firewall."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostports.core.rules.data import Settings
from tests.netns.bare import BACKENDS, bare_lab, on_host
from tests.netns.firewall_checks import EVERYTHING, NOTHING, PATIENCE, SILENCE, RealFirewall
from tests.netns.lab import Lab, Probe

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


def test_a_host_that_was_a_router_stays_one(
    bare: Lab, backend: Callable[[Settings | None], RealFirewall]
) -> None:
    host = bare.namespaces["host"]
    host.sysctl("net.ipv4.ip_forward", "1")
    host.sysctl("net.ipv6.conf.all.forwarding", "1")
    with on_host(bare, backend=backend):
        assert who(bare.ask(TRANSIT, PATIENCE)) == ["trusted", "trusted"]

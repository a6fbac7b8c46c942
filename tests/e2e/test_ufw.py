"""ufw, as Debian ships it, and published ports: docs/ufw.md says the same in words."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.firewalls import Ufw
from tests.e2e.site import SILENCE_S, Site, host_probe, site
from tests.e2e.test_doctor import CLEAN, problems, run
from tests.netns.lab import Probe

#: Published by the relay, and by NAT; and a service of the host's own, which ufw is made for.
RELAYED, TRANSLATED, LOCAL = 8080, 8081, 7000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A container, and a host that serves by itself, too."""
    with site(tmp_path_factory.mktemp("site")) as made:
        made.lab.serve("host", "host", [LOCAL])
        made.client.create_network("nat", subnets=["10.90.0.0/24", "fd90::/64"])
        made.add_container("nat1")
        made.publish("nat1", f"{RELAYED}:80", "5353:53/udp", mode="relay")
        made.publish("nat1", f"{TRANSLATED}:80")
        try:
            yield made
        finally:
            run(made, CLEAN)
            stop_serving(made)


def stop_serving(made: Site) -> None:
    """Close the host's own service."""
    for key in list(made.lab.servers.get_map().values()):
        if key.data == "host":
            made.lab.servers.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()


@pytest.fixture
def ufw(made: Site, tmp_path: Path) -> Iterator[Ufw]:
    """Switched on, as fresh as from its package."""
    ufw = Ufw(made.lab.namespaces["host"], tmp_path)
    try:
        with ufw.enabled():
            yield ufw
    finally:
        run(made, CLEAN)


def opened(made: Site, *ports: int, where: str = "remote") -> list[bool]:
    """Which ports somebody outside reaches, the same by IPv4 and IPv6."""
    both = []
    for version in (4, 6):
        host = f"10.{9 if where == 'remote' else 8}.0.1", f"fd0{9 if where == 'remote' else 8}::1"
        probes = [Probe(where, host[version == 6], port) for port in ports]
        answers = made.answers(*probes, seconds=SILENCE_S)
        both.append([each in ("nat1", "host") for each in answers])
    assert both[0] == both[1]
    return both[0]


def test_ufw_decides_about_a_relayed_port_as_about_a_local_service(made: Site, ufw: Ufw) -> None:
    """Shut by default, open when allowed, shut again when denied."""

    def alike() -> bool:
        relayed, local = opened(made, RELAYED, LOCAL)
        assert relayed == local
        return relayed

    def both(command: str) -> None:
        for port in (RELAYED, LOCAL):
            ufw(command.format(port))

    assert not alike()
    both("allow {}")
    assert alike()
    both("deny {}")
    assert not alike()
    both("delete deny {}")
    both("allow proto tcp from 10.8.0.0/24 to any port {}")
    both("allow proto tcp from fd08::/64 to any port {}")
    assert not alike()
    assert opened(made, RELAYED, LOCAL, where="trusted") == [True, True]
    both("delete allow proto tcp from 10.8.0.0/24 to any port {}")
    both("delete allow proto tcp from fd08::/64 to any port {}")
    both("allow {}/tcp")
    assert alike()


def test_ufw_decides_about_datagrams_as_well(made: Site, ufw: Ufw) -> None:
    probe = host_probe("remote", 5353, protocol="udp")
    assert made.answers(probe, seconds=SILENCE_S) == ["nothing"]
    ufw("allow 5353/udp")
    assert made.answers(probe) == ["nat1"]


def test_the_host_itself_is_never_kept_from_a_relayed_port(made: Site, ufw: Ufw) -> None:
    """ufw lets loopback through."""
    ufw(f"deny {RELAYED}")
    assert made.answers(Probe("host", "127.0.0.1", RELAYED)) == ["nat1"]


def test_allow_and_deny_say_nothing_about_a_port_by_nat(made: Site, ufw: Ufw) -> None:
    """It is forwarded, which `ufw route` is about; Docker's ports are open whatever ufw says."""
    assert opened(made, TRANSLATED) == [False]
    ufw(f"allow {TRANSLATED}")
    assert opened(made, TRANSLATED) == [False]
    for address in ("10.90.0.2", "fd90::2"):
        ufw(f"route allow proto tcp from any to {address} port 80")
    assert opened(made, TRANSLATED) == [True]
    ufw(f"deny {TRANSLATED}")
    assert opened(made, TRANSLATED) == [True]


def test_ufw_can_let_all_published_ports_through(made: Site, ufw: Ufw) -> None:
    """As Docker's are."""
    ufw.accept_forwarded("-m conntrack --ctstate DNAT")
    ufw("reload")
    assert opened(made, TRANSLATED) == [True]


def test_the_relay_needs_to_go_out_where_going_out_is_denied(made: Site, ufw: Ufw) -> None:
    """The doctor says so, with ufw's own words."""
    ufw("default deny outgoing")
    ufw(f"allow {RELAYED}/tcp")
    (problem,) = problems(made, RELAYED)
    assert problem["mend"] == "ufw allow out proto tcp from any to 10.90.0.2 port 80"
    assert made.answers(host_probe("remote", RELAYED), seconds=SILENCE_S) != ["nat1"]
    ufw(problem["mend"].removeprefix("ufw "))
    assert made.answers(host_probe("remote", RELAYED)) == ["nat1"]

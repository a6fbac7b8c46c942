"""A host that was no router before routes for nobody, whoever takes our rules away, and when."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostports.linux.iptables import installed
from tests.e2e.site import SILENCE_S, Daemon, Site, host_probe, wired
from tests.netns.lab import Probe
from tests.netns.namespaces import nft
from tests.relay.waiting import PATIENCE_S

#: From one neighbour to the other through the host, in both families.
TRANSIT = [Probe("remote", "10.8.0.2", 7000), Probe("remote", "fd08::2", 7000)]
FORWARDING = [
    Path(f"/proc/sys/net/{name}")
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding")
]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """A host that is no router, whose daemon isn't started yet."""
    with wired() as lab:
        daemon = Daemon(lab, tmp_path, ())
        lab.serve("trusted", "trusted", [7000])
        made = Site(lab, daemon)
        assert not any(forwarding(made))
        yield made
        daemon.take_down()
        assert not any(forwarding(made))


def forwarding(made: Site) -> list[bool]:
    with made.lab.namespaces["host"].entered():
        return [each.read_text(encoding="ascii") == "1\n" for each in FORWARDING]


def publish(made: Site) -> None:
    made.client.create_network("nat")
    made.add_container("nat1")
    made.publish("nat1", "8080:80")


def flush(made: Site) -> None:
    """All rules of all firewalls go."""
    with made.lab.namespaces["host"].entered():
        nft("flush", "ruleset")
        for each in installed():
            for of in each.families:
                if each.variant == "-legacy":
                    each.remove_ours()
                assert not each.present(of).chains


def check(made: Site) -> None:
    """It routes for containers, and for nobody else."""
    assert all(forwarding(made))
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    assert made.answers(Probe("nat1", "10.8.0.2", 7000)) == ["trusted"]
    assert made.answers(*TRANSIT, seconds=SILENCE_S) == ["nothing", "nothing"]


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
@pytest.mark.parametrize("end", [Daemon.stop, Daemon.kill], ids=lambda end: str(end.__name__))
def test_rules_that_are_flushed_while_no_daemon_runs_come_back_whole(
    made: Site, firewall: str, end: Callable[[Daemon], None]
) -> None:
    made.daemon.start("--firewall", firewall)
    publish(made)
    check(made)
    for _ in range(2):
        end(made.daemon)
        flush(made)
        assert made.answers(*TRANSIT) == ["trusted", "trusted"]  # nothing forbids it
        made.daemon.start("--firewall", firewall)
        check(made)


def test_so_they_do_by_another_firewall(made: Site) -> None:
    made.daemon.start("--firewall", "nftables")
    publish(made)
    for firewall in ("iptables", "nftables"):
        made.daemon.stop()
        flush(made)
        made.daemon.start("--firewall", firewall)
        check(made)


@pytest.mark.parametrize("former", ["nftables", "iptables"])
def test_without_a_firewall_the_host_is_no_router_as_before(made: Site, former: str) -> None:
    made.daemon.start("--firewall", former)
    publish(made)
    made.daemon.stop()
    made.daemon.start("--firewall", "none")
    assert not any(forwarding(made))
    assert made.answers(*TRANSIT, seconds=SILENCE_S) == ["nothing", "nothing"]
    made.daemon.stop()
    made.daemon.start("--firewall", former)
    check(made)


def test_so_it_is_if_the_rules_were_gone_before(made: Site) -> None:
    made.daemon.start()
    publish(made)
    made.daemon.stop()
    flush(made)
    made.daemon.start("--firewall", "none")
    assert not any(forwarding(made))


def test_who_switches_forwarding_on_when_we_have_it_off_again_is_a_router(made: Site) -> None:
    made.daemon.start()
    publish(made)
    made.daemon.stop()
    made.daemon.start("--firewall", "none")
    made.daemon.stop()
    host = made.lab.namespaces["host"]
    host.sysctl("net.ipv4.ip_forward", "1")
    host.sysctl("net.ipv6.conf.all.forwarding", "1")
    made.daemon.start("--firewall", "nftables")
    assert made.answers(*TRANSIT) == ["trusted", "trusted"]
    made.daemon.stop()
    made.daemon.start("--down-on-exit")
    made.daemon.stop()
    assert all(forwarding(made))
    host.sysctl("net.ipv4.ip_forward", "0")
    host.sysctl("net.ipv6.conf.all.forwarding", "0")


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_a_daemon_that_is_refused_remembers_what_the_rules_say_before_they_are_deleted(
    made: Site, firewall: str
) -> None:
    """Its error says that one may delete them."""
    made.daemon.start("--firewall", firewall)
    publish(made)
    made.daemon.stop()
    other = Site(made.lab, Daemon(made.lab, made.daemon.folder / "other", ("--firewall", firewall)))
    other.daemon.launch()
    assert not other.daemon.serves()
    other.daemon.process.wait(PATIENCE_S)
    flush(made)
    other.daemon.start()
    try:
        other.client.create_network("other")
        other.add_container("other1")
        assert other.answers(Probe("other1", "10.8.0.2", 7000)) == ["trusted"]
        assert other.answers(*TRANSIT, seconds=SILENCE_S) == ["nothing", "nothing"]
    finally:
        other.daemon.take_down()

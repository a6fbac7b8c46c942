"""The daemon on iptables, and what happens to ports when it changes to another firewall."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostports.linux.iptables import Iptables, installed
from tests.e2e.hammer import healings, wait_for
from tests.e2e.site import SILENCE_S, Daemon, Site, host_probe, wired
from tests.netns.lab import HOST_IPV4, Probe
from tests.netns.namespaces import iptables_of_ours, nft
from tests.relay.peers import connected


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """A host whose daemon isn't started yet."""
    with wired() as lab:
        daemon = Daemon(lab, tmp_path, ())
        made = Site(lab, daemon)
        yield made
        daemon.take_down()
        assert holders(made) == []


def holders(made: Site) -> list[str]:
    """Who holds anything of ours; iptables' own empty chains are nobody's."""
    with made.lab.namespaces["host"].entered():
        held = [str(each) for each in installed() if any(chains_of_ours(each))]
        return held + (["nftables"] if "inet hostports" in nft("list", "tables") else [])


def chains_of_ours(iptables: Iptables) -> Iterator[object]:
    return (iptables.present(of).chains for of in iptables.families)


def publish(made: Site) -> None:
    made.client.create_network("nat")
    made.client.create_network("other")
    made.add_container("nat1")
    made.add_container("other1")
    made.publish("nat1", "8080:80", "7000:7000", "127.0.0.1:8082:80")


def check(made: Site) -> None:
    """What shall be reached is, and nothing else."""
    container = made.addresses["nat1"][4]
    answered = [
        host_probe(where, 8080, version=of) for where in ("remote", "host") for of in (4, 6)
    ]
    answered += [
        Probe("host", "127.0.0.1", 8082),
        host_probe("nat1", 8080),
        host_probe("other1", 8080),
    ]
    assert made.answers(*answered) == ["nat1"] * len(answered)
    silent = [Probe("remote", container, 80), Probe("other1", container, 81)]
    assert made.answers(*silent, seconds=SILENCE_S) == ["nothing"] * len(silent)


def test_ports_are_published_by_iptables(made: Site) -> None:
    made.daemon.start("--firewall", "iptables")
    publish(made)
    check(made)
    packets = {each["packets"] for each in made.client.ports("nat1")["bindings"]}
    assert packets != {0}
    assert holders(made) == ["iptables-nft"]
    assert made.daemon.command("reload").returncode == 0
    check(made)
    made.client.unpublish("nat1", ["8080:80"])
    assert made.answers(host_probe("remote", 8080)) == ["refused"]


#: What somebody may do to the chains of a running daemon.
DAMAGES = (
    "iptables -F",
    "iptables -F; iptables -X || true",
    "iptables -E HP-FORWARD HP-OLD",
    "iptables -N HP-OLD; iptables -I FORWARD -j HP-OLD",
    "iptables -D FORWARD -j HP-FORWARD",
    "iptables -t nat -F HP-PUBLISH",
    "ip6tables -t nat -D POSTROUTING -j HP-OUT",
    "iptables -I HP-TO -j ACCEPT",
    "nft delete table ip6 filter",
    "nft flush ruleset",
)


def test_what_others_do_to_chains_of_iptables_is_healed_at_once(made: Site) -> None:
    """The look once a minute would be too late for it."""
    made.daemon.start("--firewall", "iptables")
    with healings(made) as healed:
        publish(made)
        made.client.unpublish("nat1", ["7000:7000"])
        made.publish("nat1", "7000:7000")
    assert healed == []
    host = made.lab.namespaces["host"]
    with host.entered():
        before = iptables_of_ours()
    for damage in DAMAGES:
        with healings(made) as healed, host.entered():
            subprocess.run(["/bin/sh", "-ec", damage], check=True)
            wait_for(healed)
            assert iptables_of_ours() == before
        assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    check(made)


def test_another_firewall_takes_over_and_no_connection_notices(made: Site) -> None:
    with made.lab.namespaces["nat1"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    made.daemon.start("--firewall", "nftables")
    publish(made)
    with server, connected(made.lab.namespaces["remote"], HOST_IPV4, 7000) as client:
        end = server.accept()[0]
        with end:
            for choice, holder in (("iptables", "iptables-nft"), ("auto", "nftables")):
                made.daemon.stop()
                made.daemon.start("--firewall", choice)
                assert holders(made) == [holder]
                check(made)
                end.sendall(choice.encode())
                assert client.recv(100) == choice.encode()


@pytest.mark.parametrize("former", ["nftables", "iptables"])
def test_without_a_firewall_no_rule_stays_and_the_relay_serves(made: Site, former: str) -> None:
    made.daemon.start("--firewall", former)
    publish(made)
    made.daemon.stop()
    made.daemon.start("--firewall", "none")
    assert holders(made) == []
    assert {each["path"] for each in made.client.ports()["bindings"]} == {"relay"}
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    made.client.unpublish("nat1", ["8080:80"])
    assert made.answers(host_probe("remote", 8080)) == ["refused"]


@pytest.mark.parametrize("former", ["nftables", "iptables"])
def test_without_a_firewall_connections_by_the_relay_go_on_and_those_by_dnat_end(
    made: Site, former: str
) -> None:
    with made.lab.namespaces["nat1"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    made.daemon.start("--firewall", former)
    publish(made)
    ways = {"remote": HOST_IPV4, "host": "127.0.0.1"}
    with server, ExitStack() as stack:
        clients, ends = {}, {}
        for where, ip in ways.items():
            client = connected(made.lab.namespaces[where], ip, 7000)
            clients[where] = stack.enter_context(client)
            ends[where] = stack.enter_context(server.accept()[0])
        made.daemon.stop()
        made.daemon.start("--firewall", "none")
        for each in clients.values():
            each.sendall(b"still there?")
        assert ends["host"].recv(100) == b"still there?"
        with pytest.raises(ConnectionResetError):
            clients["remote"].recv(100)


@pytest.mark.parametrize(
    ("firewall", "rule"),
    [
        ("nftables", ["nft", "add rule inet hostports user jump to_hp-nat"]),
        ("iptables", ["iptables", "-A", "HP-USER", "-j", "HP-to-hp-nat"]),
    ],
)
def test_a_network_that_a_users_rule_leads_to_goes_and_may_come_back(
    made: Site, firewall: str, rule: list[str]
) -> None:
    made.daemon.start("--firewall", firewall)
    publish(made)
    with made.lab.namespaces["host"].entered():
        subprocess.run(rule, check=True)
    for name in ("nat", "other"):
        assert made.daemon.command("network", "rm", "--force", name).returncode == 0
    publish(made)
    check(made)
    undone = {
        "nftables": ["nft", "flush chain inet hostports user"],
        "iptables": ["iptables", "-F", "HP-USER"],
    }
    with made.lab.namespaces["host"].entered():
        subprocess.run(undone[firewall], check=True)

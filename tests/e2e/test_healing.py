"""What others do to a daemon's rules and bridges, and what comes of it: real everything."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.e2e.hammer import (
    WAYS,
    add_networks,
    explained,
    flush_again_and_again,
    healings,
    wait_for,
)
from tests.e2e.site import SILENCE_S, Site, host_probe, site
from tests.netns.lab import HOST_IPV4
from tests.netns.namespaces import nft, table_of_ours
from tests.relay.peers import connected
from tests.relay.waiting import eventually

#: What somebody may do to the rules of a running daemon, by nft.
DAMAGES = {
    "flush ruleset": "flush ruleset",
    "delete table": "delete table inet hostports",
    "delete chain": "flush chain inet hostports nat_in; delete chain inet hostports nat_in",
    "flush chain": "flush chain inet hostports early",
    "delete element": "delete element inet hostports dnat_any4 { tcp . 8080 }",
    "flush map": "flush map inet hostports protected4",
    "add rule": "insert rule inet hostports forward accept",
    "add element": "add element inet hostports dnat_any4 { tcp . 9999 : 10.0.0.1 . 80 }",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network with two containers, one published."""
    with site(tmp_path_factory.mktemp("healing")) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.add_container("nat2")
        made.publish("nat1", "8080:80", "127.0.0.1:8081:80", "5353:53/udp")
        yield made


def rules(made: Site) -> list[str]:
    """Chains, sets and maps of our table."""
    with made.lab.namespaces["host"].entered():
        return table_of_ours()


def damage(made: Site, script: str) -> None:
    with made.lab.namespaces["host"].entered():
        nft(script)


def heal(made: Site, script: str) -> None:
    """Do damage, and wait until the daemon says that it has healed it."""
    with healings(made) as healed:
        damage(made, script)
        wait_for(healed)


def hardware_address(made: Site, interface: str) -> str:
    return made.lab.mac("host", interface).hex(":")


def gateway_known(made: Site, container: str) -> str:
    """The hardware address to which a container sends what leaves its network."""
    gateway = made.subnet("nat", 4) + "1"
    with made.lab.namespaces[container].entered(), IPRoute() as links:
        (found,) = links.get_neighbours(family=socket.AF_INET, dst=gateway)
        return str(found.get_attr("NDA_LLADDR"))


@pytest.mark.parametrize("script", DAMAGES.values(), ids=DAMAGES.keys())
def test_rules_that_others_change_are_as_before_soon(made: Site, script: str) -> None:
    before = rules(made)
    heal(made, script)
    assert rules(made) == before
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]


def test_our_own_changes_are_not_taken_for_those_of_others(made: Site) -> None:
    """Else each of them would make all rules anew."""
    with healings(made) as healed:
        made.publish("nat2", "9000-9999:9000-9999")
        made.client.unpublish("nat2", ["9000-9999:9000-9999"])
        made.client.create_network("other")
        made.add_container("other1")
        made.client.remove_network("other", force=True)
        made.client.ports()
    assert healed == []


def test_what_users_have_of_their_own_in_our_table_is_left_alone(made: Site) -> None:
    """Rules in the chain for users may look into sets, which must be in the same table."""
    with healings(made) as healed:
        damage(made, "add set inet hostports bad { type ipv4_addr; }")
        damage(made, "add chain inet hostports mine { counter; }")
        damage(made, "add rule inet hostports user ip saddr @bad drop")
        damage(made, "add element inet hostports bad { 192.0.2.1 }")
        damage(made, "add table inet theirs; delete table inet theirs")
    assert healed == []
    heal(made, DAMAGES["delete element"])
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    for each in ("ip saddr @bad drop", "elements = { 192.0.2.1 }", "chain mine"):
        assert any(each in one for one in rules(made))
    damage(made, "flush chain inet hostports user; delete set inet hostports bad")
    damage(made, "delete chain inet hostports mine")


def test_the_event_says_what_was_found_and_who_did_it(made: Site) -> None:
    with made.client.events() as events:
        damage(made, DAMAGES["delete table"])
        event = next(events)
    assert event["event"] == "firewall.rebuilt"
    assert event["message"].startswith("table inet hostports deleted by nft (pid ")


def test_a_datagram_flow_that_began_without_rules_is_translated_afterwards(made: Site) -> None:
    """Else connection tracking would lead it past the rules as long as it lasts."""
    keep = "add chain inet theirs c { type filter hook input priority 0; }"
    damage(made, f"add table inet theirs; {keep}; add rule inet theirs c ct state new counter")
    remote = made.lab.namespaces["remote"]
    host = made.lab.namespaces["host"]
    with connected(remote, HOST_IPV4, 5353, kind=socket.SOCK_DGRAM) as client:
        with healings(made) as healed:
            damage(made, DAMAGES["delete table"])
            while not healed:
                client.send(b"who?")
        client.settimeout(SILENCE_S)
        try:
            while True:
                client.recv(100)
        except TimeoutError:
            pass
        client.settimeout(20)
        client.send(b"who?")
        assert client.recv(100) == f"nat1 {client.getsockname()[0]}".encode()
    with host.entered():
        nft("delete table inet theirs")


def test_a_bridge_that_somebody_removes_is_back_with_its_containers(made: Site) -> None:
    """Their interfaces stay, and so do the connections that they have."""
    with made.lab.namespaces["nat1"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    made.publish("nat1", "7000:7000")
    bridge = made.client.network("nat")["bridge"]
    with server, connected(made.lab.namespaces["remote"], HOST_IPV4, 7000) as client:
        end, _ = server.accept()
        with end, made.client.events() as events:
            with made.lab.namespaces["host"].entered(), IPRoute() as links:
                links.link("del", index=links.link_lookup(ifname=bridge)[0])
            event = next(events)
            assert event["event"] == "links.restored"
            assert bridge in event["message"]
            eventually(
                lambda: gateway_known(made, "nat1") == hardware_address(made, bridge), "known"
            )
            client.sendall(b"still here")
            assert end.recv(100) == b"still here"
            end.sendall(b"me, too")
            assert client.recv(100) == b"me, too"
    assert made.answers(*(host_probe("remote", 8080, version=of) for of in (4, 6))) == ["nat1"] * 2
    made.client.unpublish("nat1", ["7000:7000"])


@pytest.mark.parametrize("how", ["ip link del hpv-nat1", "ip link set hpv-nat1 down"])
def test_a_cable_that_somebody_removes_or_sets_down_is_laid_again(made: Site, how: str) -> None:
    with made.client.events() as events:
        harm(made, how)
        assert next(events)["message"].endswith("the cable of endpoint nat1")
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]


BRIDGE = "hp-nat"
#: What somebody may do to a bridge. Switching IPv6 off takes its addresses, and switching it on
#: doesn't bring them back.
HARMS = {
    "set down": "ip link set {0} down",
    "down and up": "ip link set {0} down; ip link set {0} up",
    "flush": "ip address flush dev {0}",
    "gateway": "ip address del {1}1/24 dev {0}",
    "IPv6 off": "sysctl -qw net.ipv6.conf.{0}.disable_ipv6=1",
    "IPv6 off and on": (
        "sysctl -qw net.ipv6.conf.{0}.disable_ipv6=1; sysctl -qw net.ipv6.conf.{0}.disable_ipv6=0"
    ),
}


def harm(made: Site, how: str) -> None:
    """Do something to the bridge."""
    command = how.format(BRIDGE, made.addresses["nat1"][4].removesuffix("2"))
    with made.lab.namespaces["host"].entered():
        subprocess.run(["/bin/sh", "-ec", command], check=True, capture_output=True)


@pytest.mark.parametrize("how", HARMS.values(), ids=HARMS.keys())
def test_a_bridge_that_is_set_down_or_loses_addresses_is_restored(made: Site, how: str) -> None:
    """By itself: nobody reloads, and no look now and then is waited for."""
    with made.client.events() as events:
        harm(made, how)
        event = next(events)
    assert event["event"] == "links.restored"
    assert event["message"].endswith(f": bridge {BRIDGE}")
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    eventually(lambda: made.answers(*probes, seconds=SILENCE_S) == ["nat1"] * 2, "reached")


def test_what_a_bridge_lost_while_nobody_watched_is_restored_at_the_start(made: Site) -> None:
    made.daemon.stop()
    harm(made, HARMS["flush"])
    made.daemon.start()
    assert made.answers(*(host_probe("remote", 8080, version=of) for of in (4, 6))) == ["nat1"] * 2


@pytest.mark.parametrize("firewall", WAYS)
def test_protections_do_not_lapse_once_rules_are_back(tmp_path: Path, firewall: str) -> None:
    """`make soak` flushes more often, and prints what got through meanwhile."""
    with site(tmp_path, "--firewall", firewall) as made:
        add_networks(made)
        count = flush_again_and_again(made, 6, firewall)
    assert sum(count.meanwhile.values()), "nobody hammered, so nothing was shown"
    assert not any(count.afterwards.values()), explained(count)


def test_who_flushes_in_a_loop_is_healed_less_often_and_in_the_end(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        before = rules(made)
        with healings(made) as healed:
            for _ in range(60):
                damage(made, "flush ruleset")
        assert len(healed) < 20
        eventually(lambda: rules(made) == before, "the rules are back")

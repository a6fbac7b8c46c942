"""Ports that follow an interface: real addresses come and go, and real packets with them."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from hostports.client.errors import ApiError, ApiNotFound
from tests.e2e.site import SILENCE_S, Site, site
from tests.netns.lab import Probe
from tests.relay.waiting import PATIENCE_S, eventually

IPV4, IPV6 = "10.7.0.1", "fd07::1"
MORE_IPV4, MORE_IPV6 = "10.7.0.77", "fd07::77"
#: linux/in.h
IP_FREEBIND = 15


class Dial:
    """An interface of the host that comes and goes, as one of a dial-up or a VPN: ``dial0``."""

    def __init__(self, made: Site) -> None:
        self._site = made

    def up(self, *addresses: str) -> None:
        """Make it, with addresses; the remote host is at its other end."""
        remote = self._site.lab.namespaces["remote"]
        with self._links() as links:
            peer = {"ifname": "dial1", "net_ns_fd": remote.name}
            links.link("add", ifname="dial0", kind="veth", peer=peer)
            links.link("set", index=self._index(links), state="up")
        self.add(*addresses)
        with remote.entered(), IPRoute() as links:
            (index,) = links.link_lookup(ifname="dial1")
            links.link("set", index=index, state="up")
            links.addr("add", index=index, address="10.7.0.2", prefixlen=24)
            links.addr("add", index=index, address="fd07::2", prefixlen=64)

    def down(self) -> None:
        """Delete it."""
        with self._links() as links:
            links.link("del", index=self._index(links))

    def rename(self, old: str, new: str) -> None:
        """Call it by another name."""
        with self._links() as links:
            (index,) = links.link_lookup(ifname=old)
            links.link("set", index=index, state="down")
            links.link("set", index=index, ifname=new)
            links.link("set", index=index, state="up")

    def add(self, *addresses: str) -> None:
        """Give it addresses."""
        with self._links() as links:
            for each in addresses:
                length = 64 if ":" in each else 24
                links.addr("add", index=self._index(links), address=each, prefixlen=length)

    def remove(self, *addresses: str) -> None:
        """Take addresses away."""
        with self._links() as links:
            for each in addresses:
                length = 64 if ":" in each else 24
                links.addr("del", index=self._index(links), address=each, prefixlen=length)

    @contextmanager
    def _links(self) -> Iterator[IPRoute]:
        with self._site.lab.namespaces["host"].entered(), IPRoute() as links:
            yield links

    def _index(self, links: IPRoute) -> int:
        (index,) = links.link_lookup(ifname="dial0")
        return int(index)


@pytest.fixture
def dial(made: Site) -> Iterator[Dial]:
    dial = Dial(made)
    dial.up(IPV4, IPV6)
    yield dial
    dial.down()


def bound(made: Site) -> set[tuple[str, int, str | None]]:
    """What the API says: host addresses and ports, and which interface they follow."""
    return {
        (each["host_ip"], each["host_port"], each["interface"])
        for each in made.client.ports()["bindings"]
    }


def on(*ips: str, port: int = 8080) -> set[tuple[str, int, str | None]]:
    return {(ip, port, "dial0") for ip in ips}


def follows(made: Site, *ips: str, port: int = 8080) -> Callable[[], bool]:
    return lambda: bound(made) == on(*ips, port=port)


def listening(made: Site) -> set[str]:
    """Sockets of the host, as ``10.7.0.1:8080``."""
    return {line.split()[4] for line in run(made, "ss", "-Hltun").splitlines()}


def rules(made: Site) -> str:
    return run(made, "nft", "list", "ruleset")


def run(made: Site, *command: str) -> str:
    with made.lab.namespaces["host"].entered():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def remote(ip: str, port: int = 8080) -> Probe:
    return Probe("remote", ip, port)


@pytest.mark.usefixtures("dial")
def test_it_is_published_on_each_address_of_the_interface_and_nowhere_else(made: Site) -> None:
    said = made.daemon.command("publish", "nat1", "dial0:8080:80")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"80/tcp -> {IPV4}:8080 (dial0)\n80/tcp -> [{IPV6}]:8080 (dial0)\n"
    assert bound(made) == on(IPV4, IPV6)
    assert made.answers(remote(IPV4), remote(IPV6)) == ["nat1", "nat1"]
    assert made.answers(remote("10.9.0.1"), remote("fd09::1")) == ["refused", "refused"]
    shown = json.loads(made.daemon.command("--json", "endpoint", "inspect", "nat1").stdout)
    assert shown["follows"] == ["dial0:8080:80/tcp"]
    assert f"{IPV4}:8080 (dial0)" in made.daemon.command("ls").stdout


def test_an_address_that_comes_is_reachable_and_one_that_goes_leaves_nothing(
    made: Site, dial: Dial
) -> None:
    made.publish("nat1", "dial0:8080:80", "dial0:5353:53/udp", "dial0::81")
    (port,) = {each["host_port"] for each in made.client.ports()["bindings"]} - {8080, 5353}
    with made.client.events() as events:
        dial.add(MORE_IPV4, MORE_IPV6)
        come = 0
        while come < 6:  # three ports on two addresses, in one event or in more
            event = next(events)
            assert event["event"] == "ports.published"
            assert "interface" in event["message"]
            come += len(event["bindings"])
        for ip in (MORE_IPV4, MORE_IPV6):
            udp = Probe("remote", ip, 5353, "udp")
            assert made.answers(remote(ip), udp, remote(ip, port)) == ["nat1"] * 3
        dial.remove(MORE_IPV4, IPV6)
        gone = 0
        while gone < 6:
            event = next(events)
            assert event["event"] == "ports.unpublished"
            gone += len(event["bindings"])
    for where in (listening(made), rules(made)):
        assert not any(ip in each for ip in (MORE_IPV4, f"{IPV6}]", f"{IPV6} ") for each in where)
    assert made.answers(remote(IPV4), remote(MORE_IPV6)) == ["nat1", "nat1"]


def test_an_interface_may_go_and_come_back_with_other_addresses(made: Site, dial: Dial) -> None:
    made.publish("nat1", "dial0:8080:80")
    dial.down()
    eventually(follows(made), "no address")
    assert listening(made) == set()
    assert IPV4 not in rules(made)
    assert made.client.endpoint("nat1")["follows"] == ["dial0:8080:80/tcp"]
    dial.up(MORE_IPV4)
    eventually(follows(made, MORE_IPV4), "the other address")
    assert made.answers(remote(MORE_IPV4)) == ["nat1"]


def test_who_gets_the_interfaces_name_is_followed(made: Site, dial: Dial) -> None:
    made.publish("nat1", "dial0:8080:80")
    dial.rename("dial0", "other0")
    eventually(follows(made), "no such interface")
    dial.rename("other0", "dial0")
    eventually(follows(made, IPV4), "the interface is back")


def test_what_changed_while_nobody_ran_is_made_good_at_the_start(made: Site, dial: Dial) -> None:
    made.publish("nat1", "dial0:8080:80")
    made.publish("nat2", f"{IPV4}:8081:80")
    for end in (made.daemon.stop, made.daemon.kill):
        end()
        dial.add(MORE_IPV4)
        dial.remove(IPV6)
        made.daemon.start()
        assert bound(made) == on(IPV4, MORE_IPV4) | {(IPV4, 8081, None)}
        assert made.answers(remote(IPV4), remote(MORE_IPV4)) == ["nat1", "nat1"]
        assert listening(made) == {f"{IPV4}:8080", f"{MORE_IPV4}:8080", f"{IPV4}:8081"}
        assert IPV6 not in rules(made)
        dial.remove(MORE_IPV4)
        dial.add(IPV6)
        eventually(lambda: on(IPV4, IPV6) < bound(made), "as it was")


def test_it_is_unpublished_by_the_same_words_also_without_an_address(
    made: Site, dial: Dial
) -> None:
    made.publish("nat1", "dial0:8080:80")
    with pytest.raises(ApiNotFound, match=r"dial0:8080:80/tcp"):
        made.client.unpublish("nat1", [f"{IPV4}:8080:80"])
    dial.remove(IPV4, IPV6)
    eventually(follows(made), "no address")
    said = made.daemon.command("doctor").stdout
    assert "warning: nat1 dial0:8080:80/tcp: dial0 has no address to publish it on" in said
    assert "endpoint inspect nat1" in made.daemon.command("port", "nat1").stderr
    made.client.unpublish("nat1", ["dial0:8080:80"])
    with pytest.raises(ApiNotFound):
        made.client.unpublish("nat1", ["dial0:8080:80"])
    dial.add(IPV4)
    # The next change is made after this one has been seen.
    made.publish("nat2", "9000:80")
    assert made.client.endpoint("nat1")["follows"] == []
    assert made.answers(remote(IPV4), seconds=SILENCE_S) == ["refused"]
    made.daemon.stop()
    made.daemon.start()
    assert {port for _, port, _ in bound(made)} == {9000}


def test_an_interface_that_is_not_there_or_has_no_address_is_refused_or_waited_for(
    made: Site,
) -> None:
    said = made.daemon.command("publish", "nat1", "dial0:8080:80")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "hostports: dial0:8080:80/tcp can't be published: this host has no interface 'dial0'; "
        "name one of `ip link`, or wait with --wait-address\n"
    )
    dial = Dial(made)
    dial.up()
    with pytest.raises(ApiError, match="interface 'dial0' has no address"):
        made.client.publish("nat1", ["8080:80", "dial0:8081:80"], wait_address=0.3)
    assert bound(made) == set()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            made.daemon.command,
            *("publish", "nat1", "dial0:8080:80", "--wait-address", str(PATIENCE_S)),
        )
        made.publish("nat2", "9000:80")
        dial.add(IPV4)
        assert waiting.result().returncode == 0
    assert made.answers(remote(IPV4)) == ["nat1"]
    dial.down()


def test_a_port_that_is_held_on_a_new_address_is_told_and_regained(made: Site, dial: Dial) -> None:
    made.publish("nat1", "dial0:8080:80")
    with made.client.events() as events:
        with made.lab.namespaces["host"].entered():
            # Linux lets the address be bound that isn't there yet.
            holder = socket.socket()
            holder.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            holder.bind((MORE_IPV4, 8080))
            holder.listen()
        with holder:
            dial.add(MORE_IPV4)
            event = next(events)
            assert event["event"] == "ports.lost"
            assert f"(pid {os.getpid()})" in event["message"]
            assert [each["host_ip"] for each in event["bindings"]] == [MORE_IPV4]
            assert bound(made) == on(IPV4, IPV6)
        made.publish("nat2", "9000:80")
        assert [next(events)["event"] for _ in range(2)] == ["ports.published", "ports.regained"]
    assert made.answers(remote(MORE_IPV4)) == ["nat1"]
    # And what is lost goes with its address.
    dial.remove(MORE_IPV4)
    eventually(lambda: on(IPV4, IPV6) < bound(made), "as it was")


def test_an_endpoint_takes_what_it_follows_with_it(made: Site, dial: Dial) -> None:
    made.publish("nat1", "dial0:8080:80")
    made.client.remove_endpoint("nat1")
    dial.add(MORE_IPV4)
    made.publish("nat2", "dial0:8080:80")
    assert {each["endpoint"] for each in made.client.ports()["bindings"]} == {"nat2"}
    assert bound(made) == on(IPV4, IPV6, MORE_IPV4)


@pytest.mark.usefixtures("dial")
def test_a_plan_changes_nothing(made: Site) -> None:
    said = made.client.plan("nat1", ["dial0:8080:80"])
    assert said["sockets"] == [f"{IPV4}:8080/tcp", f"[{IPV6}]:8080/tcp"]
    assert {each["interface"] for each in said["bindings"]} == {"dial0"}
    assert bound(made) == set()
    assert made.client.endpoint("nat1")["follows"] == []


@pytest.mark.usefixtures("dial")
def test_a_port_of_an_interface_conflicts_as_its_addresses_do(made: Site) -> None:
    made.publish("nat1", "dial0:8080:80")
    for spec in ("dial0:8080:80", f"{IPV4}:8080:80", "8080:80"):
        said = made.daemon.command("publish", "nat2", spec)
        assert said.returncode == 4
        assert "nat1" in said.stderr
    made.publish("nat2", "dial0::80")
    assert made.client.endpoint("nat1")["follows"] == ["dial0:8080:80/tcp"]


@pytest.mark.usefixtures("dial")
def test_a_command_runs_with_a_port_on_an_interface(made: Site) -> None:
    said = made.daemon.command("run", "--network", "nat", "-p", "dial0:8080:80", "--", "true")
    assert said.returncode == 0
    assert f"{IPV4}:8080 (dial0)" in said.stdout + said.stderr
    assert bound(made) == set()


def test_without_a_relay_an_ipv4_only_endpoint_has_no_binding_on_ipv6(tmp_path: Path) -> None:
    with site(tmp_path, "--no-relay") as made:
        dial = Dial(made)
        dial.up(IPV4, IPV6)
        made.client.create_network("four", subnets=["10.90.0.0/24"])
        made.add_container("four1")
        made.publish("four1", "dial0:8080:80")
        assert bound(made) == on(IPV4)
        assert made.answers(remote(IPV4)) == ["four1"]
        dial.remove(IPV4)
        eventually(follows(made), "no address that leads there")
        with pytest.raises(ApiError, match="has no address that can lead to endpoint 'four1'"):
            made.client.publish("four1", ["dial0:8081:80"])
        dial.down()

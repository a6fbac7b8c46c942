"""Debian's bridge, ptp and host-local plugins and ours, as libcni runs them, with real packets."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from tests.cni.runtime import PLUGINS, Json, PluginFailed, Runtime, with_our_plugin
from tests.e2e.site import SILENCE_S, Daemon, Site, host_probe, leftovers, wired
from tests.e2e.taken import taken
from tests.netns.lab import Probe

pytestmark = pytest.mark.skipif(
    not PLUGINS.exists(), reason="CNI's plugins are not there; `make test` unpacks them"
)
LOOPBACK = ("127.0.0.1", "::1")
#: Namespaces of the site that stand for pods; each serves TCP 80 and 81, and UDP 53.
PODS = ("nat1", "nat2", "other1", "four1", "six1")


class Pods:
    """A host with a daemon and a runtime; by the pods' names, what they have got."""

    def __init__(self, made: Site, folder: Path) -> None:
        self.site = made
        self._folder = folder
        self._folders = with_our_plugin(folder / "plugins")
        self.runtime = self.network("podnet", "bridge", 88)

    def network(self, name: str, plugin: str, number: int, **ours: Any) -> Runtime:  # noqa: ANN401 - JSON
        """A runtime with a list: a plugin of Debian's with host-local, and ours."""
        ranges = [
            [{"subnet": f"10.{number}.0.0/24", "gateway": f"10.{number}.0.1"}],
            [{"subnet": f"fd{number}::/64", "gateway": f"fd{number}::1"}],
        ]
        ipam = {
            "type": "host-local",
            "dataDir": str(self._folder / "ipam"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        }
        of_bridge: Json = {"bridge": f"cni{number}", "isGateway": True, "hairpinMode": True}
        first = {"type": plugin, "ipam": ipam, **(of_bridge if plugin == "bridge" else {})}
        socket = str(self.site.daemon.socket)
        second = {"type": "hostports", "capabilities": {"portMappings": True}, "socket": socket}
        conflist = {"cniVersion": "1.0.0", "name": name, "plugins": [first, {**second, **ours}]}
        return Runtime(conflist, self._folders, self.site.lab.namespaces["host"].entered)

    def add(self, pod: str, *ports: Json, by: Runtime | None = None) -> dict[int, str]:
        """Add a pod; its addresses by IP version."""
        container = self.site.lab.namespaces[pod].name
        ips = (by or self.runtime).add(container, *ports)["ips"]
        found = [each["address"].partition("/")[0] for each in ips]
        return {6 if ":" in each else 4: each for each in found}

    def delete(self, pod: str, *, by: Runtime | None = None, forgotten: bool = False) -> None:
        """Delete a pod."""
        (by or self.runtime).delete(self.site.lab.namespaces[pod].name, forgotten=forgotten)

    def remote(self, port: int, protocol: str = "tcp") -> list[str]:
        """Who answers another host, by IPv4 and IPv6."""
        probes = [host_probe("remote", port, version=of, protocol=protocol) for of in (4, 6)]
        return self.site.answers(*probes)


def port(host: int, container: int = 80, protocol: str = "tcp", ip: str = "") -> Json:
    """A port mapping."""
    return {"hostPort": host, "containerPort": container, "protocol": protocol, "hostIP": ip}


@contextmanager
def host(folder: Path, *flags: str) -> Iterator[Pods]:
    """A host; what is published is taken down in the end, and nothing of ours is left."""
    with wired() as lab:
        made = Site(lab, Daemon(lab, folder, flags))
        made.daemon.start()
        try:
            yield Pods(made, folder)
            for each in made.client.networks()["networks"]:
                made.client.remove_network(each["name"], force=True)
        finally:
            made.daemon.take_down()
        # The chains of iptables itself, which stay, are nobody's.
        assert [each for each in leftovers(lab) if "HP-" in each or "hostports" in each] == []


@pytest.fixture(
    params=[
        ("--firewall", "nftables"),
        ("--firewall", "nftables", "--no-relay"),
        ("--firewall", "iptables"),
    ],
    ids=["relay", "hairpin", "iptables"],
)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pods]:
    with host(tmp_path, *request.param) as made:
        yield made


@pytest.fixture(params=["nftables", "iptables"])
def by_any(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pods]:
    with host(tmp_path, "--firewall", request.param) as made:
        yield made


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    with host(tmp_path) as made:
        yield made


def published(made: Pods) -> list[int]:
    """The host ports that are published."""
    return sorted({each["host_port"] for each in made.site.client.ports()["bindings"]})


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
def test_a_pods_ports_are_reached_from_everywhere(either: Pods, plugin: str) -> None:
    """From other hosts, the host, another pod, and the pod itself; whatever wires it up."""
    runtime = either.network("net", plugin, 89)
    either.add("nat1", port(8080), port(5353, 53, "udp"), by=runtime)
    either.add("nat2", by=runtime)
    assert either.remote(8080) == ["nat1", "nat1"]
    assert either.remote(5353, "udp") == ["nat1", "nat1"]
    for where in ("host", "nat2", "nat1"):
        probes = [host_probe(where, 8080, version=of) for of in (4, 6)]
        assert either.site.answers(*probes) == ["nat1", "nat1"], where
    if either.site.daemon.relayed:
        probes = [Probe("host", ip, 8080) for ip in LOOPBACK]
        assert either.site.answers(*probes) == ["nat1", "nat1"]
    runtime.check(either.site.lab.namespaces["nat1"].name)


def test_a_client_is_seen_with_its_own_address(either: Pods) -> None:
    either.add("nat1", port(8080))
    assert either.site.seen(host_probe("remote", 8080)) == "10.9.0.2"


def test_a_host_address_limits_who_reaches_a_port(pods: Pods) -> None:
    ips = ("10.9.0.1", "127.0.0.1", "fd09::1")
    pods.add("nat1", *(port(8080 + number, ip=ip) for number, ip in enumerate(ips)))
    assert pods.remote(8080) == ["nat1", "refused"]
    assert pods.remote(8082) == ["refused", "nat1"]
    assert pods.site.answers(Probe("host", "127.0.0.1", 8081)) == ["nat1"]
    assert pods.remote(8081) == ["refused", "refused"]


def test_a_range_of_pods_each_has_its_port(pods: Pods) -> None:
    for number, name in enumerate(PODS):
        pods.add(name, port(8000 + number))
    assert [pods.remote(8000 + number)[0] for number in range(len(PODS))] == list(PODS)
    for name in PODS:
        pods.delete(name)
    assert pods.site.client.networks()["networks"] == []


def test_a_port_of_another_pod_is_refused_by_its_name_until_that_is_gone(pods: Pods) -> None:
    pods.add("nat1", port(8080))
    with pytest.raises(PluginFailed) as failed:
        pods.add("nat2", port(8081), port(8080, 81))
    assert failed.value.plugin == "hostports"
    assert failed.value.error["code"] == 100
    assert f"pod-{pods.site.lab.namespaces['nat1'].name}"[:40] in failed.value.error["msg"]
    assert published(pods) == [8080]
    assert pods.remote(8080) == ["nat1", "nat1"]
    pods.delete("nat1")
    pods.add("nat2", port(8081), port(8080, 81))
    assert pods.remote(8080) == ["nat2", "nat2"]


def test_a_port_that_a_process_holds_is_refused(pods: Pods) -> None:
    with pods.site.lab.namespaces["host"].entered(), socket.create_server(("", 8080)):
        with pytest.raises(PluginFailed, match="8080") as failed:
            pods.add("nat1", port(8080))
        assert failed.value.error["code"] == 100
    assert published(pods) == []


def test_del_gives_ports_back_and_may_be_repeated_with_nothing_known(pods: Pods) -> None:
    pods.add("nat1", port(8080))
    assert pods.remote(8080) == ["nat1", "nat1"]
    pods.delete("nat1")
    assert pods.remote(8080) == ["refused", "refused"]
    pods.add("nat1", port(8080))
    pods.delete("nat1", forgotten=True)
    pods.delete("nat1", forgotten=True)
    assert published(pods) == []


def test_gc_takes_the_ports_of_pods_that_are_gone(pods: Pods) -> None:
    pods.add("nat1", port(8080))
    pods.add("nat2", port(8081))
    pods.runtime.conflist["cniVersion"] = "1.1.0"
    pods.runtime.forget(pods.site.lab.namespaces["nat1"].name)
    pods.runtime.collect("hostports")
    assert published(pods) == [8081]
    assert pods.remote(8081) == ["nat2", "nat2"]


def test_a_restart_of_the_daemon_is_nothing_to_pods(pods: Pods) -> None:
    pods.add("nat1", port(8080))
    pods.runtime.conflist["cniVersion"] = "1.1.0"
    pods.runtime.status("hostports")
    pods.site.daemon.process.send_signal(SIGSTOP)
    with pytest.raises(PluginFailed, match="silent") as failed:
        pods.runtime.status("hostports")
    assert failed.value.error["code"] == 50
    pods.site.daemon.process.send_signal(SIGCONT)
    pods.site.daemon.kill()
    with pytest.raises(PluginFailed) as failed:
        pods.runtime.status("hostports")
    assert failed.value.error["code"] == 50
    pods.runtime.conflist["cniVersion"] = "1.0.0"
    with pytest.raises(PluginFailed) as failed:
        pods.delete("nat1")
    assert failed.value.error["code"] == 11
    pods.site.daemon.start()
    assert pods.remote(8080) == ["nat1", "nat1"]
    pods.runtime.check(pods.site.lab.namespaces["nat1"].name)
    pods.delete("nat1")
    assert published(pods) == []


def test_check_fails_while_somebody_else_has_a_pods_port(pods: Pods) -> None:
    pods.add("nat1", port(8080))
    container = pods.site.lab.namespaces["nat1"].name
    with pods.site.client.events() as events, taken(pods.site, 8080):
        next(each for each in events if each["event"] == "ports.lost")
        with pytest.raises(PluginFailed, match=r"0\.0\.0\.0:8080") as failed:
            pods.runtime.check(container)
        assert failed.value.error["code"] == 101
    with pods.site.client.events() as events:
        if pods.site.client.endpoints()["endpoints"][0]["lost"]:
            next(each for each in events if each["event"] == "ports.regained")
    pods.runtime.check(container)


@pytest.mark.parametrize("router", [True, False], ids=["router", "no router before"])
def test_nothing_else_is_decided_about_pods(by_any: Pods, router: bool) -> None:  # noqa: FBT001 - a parameter
    """Pods of several networks reach each other and the world, as they do without us.

    Also where the host was no router, and a network of ours has made it one.
    """
    if router:
        by_any.site.lab.namespaces["host"].sysctl("net.ipv4.ip_forward", "1")
        by_any.site.lab.namespaces["host"].sysctl("net.ipv6.conf.all.forwarding", "1")
    by_any.site.client.create_network("nat", subnets=["10.90.0.0/24", "fd90::/64"])
    other = by_any.network("other", "ptp", 89)
    first = by_any.add("nat1", port(8080))
    second = by_any.add("nat2", port(8081), by=other)
    by_any.site.lab.serve("remote", "remote", [7000])
    for of, world in ((4, "10.9.0.2"), (6, "fd09::2")):
        probes = [
            Probe("nat1", second[of], 80),
            Probe("nat2", first[of], 80),
            Probe("remote", first[of], 80),
            Probe("nat1", world, 7000),
            Probe("nat2", world, 7000),
        ]
        assert by_any.site.answers(*probes) == ["nat2", "nat1", "nat1", "remote", "remote"]


def test_an_operators_network_of_the_same_bridge_protects_its_pods(pods: Pods) -> None:
    """As Docker protects its containers: only what is published is reached."""
    pods.add("nat1")
    pods.site.client.create_network("mine", bridge="cni88", existing_bridge=True)
    second = pods.add("nat2", port(8080))
    assert pods.remote(8080) == ["nat2", "nat2"]
    probes = [Probe("remote", second[of], 80) for of in (4, 6)]
    assert pods.site.answers(*probes, seconds=SILENCE_S) == ["nothing", "nothing"]


def test_a_pod_that_the_host_does_not_reach_is_refused(pods: Pods) -> None:
    """Macvlan keeps a host and its pods apart."""
    runtime = pods.network("lan", "macvlan", 89)
    runtime.conflist["plugins"][0]["master"] = "uplink0"
    with pytest.raises(PluginFailed, match="macvlan") as failed:
        pods.add("nat1", port(8080), by=runtime)
    assert failed.value.error["code"] == 7

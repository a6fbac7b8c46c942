"""What users of Podman see whose network has our driver, and netavark by itself."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.site import SILENCE_S, host_probe, site
from tests.netns.lab import Probe
from tests.podman.room import ROOT, VENV, Podman, PodmanFailed, SetUp, podman, remote

SETUP = SetUp(VENV / "podman13", ROOT / "docs" / "netavark.md")
SUBNETS = ("--subnet", "10.90.0.0/24", "--subnet", "fd90::/64")
WHY_NOT = SETUP.obstacle() and f"Debian 12's netavark knows no plugins; 13's: {SETUP.obstacle()}"
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """The daemon shares Podman's mounts: it has to see the containers' namespaces."""
    folder = tmp_path_factory.mktemp("podman")
    with site(folder) as made, podman(made, folder, SETUP) as ready:
        made.daemon.stop()
        made.daemon.entering = ready.entering
        made.daemon.start()
        ready("network", "create", "-d", "hostports", *SUBNETS, "lab")
        yield ready
        made.client.remove_network("lab")
        made.daemon.stop()
        made.daemon.entering = ()
        made.daemon.start()


@pytest.fixture
def pods(empty: Podman) -> Iterator[Podman]:
    """In the end there is nothing left of a test's containers."""
    yield empty
    empty("rm", "--all", "--force", "--time", "0")
    assert empty.site.client.endpoints()["endpoints"] == []
    assert empty.site.client.ports()["bindings"] == []


def test_a_port_is_reached_listed_and_gone_with_its_container(pods: Podman) -> None:
    pods.run("web1", "8080:80", network="lab")
    assert remote(pods, 8080) == ["web1", "web1"]
    bindings = pods.site.client.ports()["bindings"]
    assert {each["endpoint"].partition("-")[0] for each in bindings} == {"web1"}
    assert pods.addresses("web1", "lab") == [each["container_ip"] for each in bindings]
    pods("rm", "--force", "--time", "0", "web1")
    assert remote(pods, 8080) == ["refused", "refused"]


def test_a_container_is_protected_as_dockers_are(pods: Podman) -> None:
    """Only what is published is reached, and containers of the network reach each other."""
    pods.run("web1", "8080:80", network="lab")
    pods.run("web2", "8081:80", network="lab")
    ips = pods.addresses("web2", "lab")
    assert pods.site.answers(*(Probe("remote", ip, 80) for ip in ips), seconds=SILENCE_S) == [
        "nothing",
        "nothing",
    ]
    pods.site.lab.namespaces = {**pods.site.lab.namespaces, "web1": pods.namespace("web1")}
    probes = [*(Probe("web1", ip, 80) for ip in ips), host_probe("web1", 8080)]
    answers = [each.strip() for each in pods.site.answers(*probes)]
    assert answers == ["web2", "web2", "web1"]


def test_a_port_stays_with_its_container_through_restarts(pods: Podman) -> None:
    pods.run("web1", "8080:80", network="lab")
    pods("restart", "--time", "0", "web1")
    pods.wait_until_serving("web1")
    assert remote(pods, 8080) == ["web1", "web1"]
    pods.site.daemon.kill()
    pods.site.daemon.start()
    assert remote(pods, 8080) == ["web1", "web1"]


def test_a_port_that_a_container_has_is_refused_to_others(pods: Podman) -> None:
    pods.run("web1", "8080:80", network="lab")
    with pytest.raises(PodmanFailed, match="endpoint 'web1-"):
        pods.run("web2", "8081:80", "8080:80", network="lab")
    assert {each["host_port"] for each in pods.site.client.ports()["bindings"]} == {8080}


def test_ranges_udp_and_host_addresses(pods: Podman) -> None:
    ports = ("8000-8003:80-83", "5353:53/udp", "10.9.0.1:9000:80", "[fd09::1]:9001:80")
    pods.run("web1", *ports, network="lab")
    pods.site.lab.namespaces = {**pods.site.lab.namespaces, "web1": pods.namespace("web1")}
    pods.site.lab.serve("web1", "third", [82])
    pods.site.lab.serve("web1", "names", [53], "udp")
    assert remote(pods, 8002) == ["third", "third"]
    assert remote(pods, 5353, "udp") == ["names", "names"]
    assert remote(pods, 9000) == ["web1", "refused"]
    assert remote(pods, 9001) == ["refused", "web1"]


def test_podman_shows_what_the_plugin_has_chosen(pods: Podman) -> None:
    pods("network", "create", "-d", "hostports", "--opt", "icc=false", "other")
    shown = json.loads(pods("network", "inspect", "other"))[0]
    network = pods.site.client.network("other")
    assert [each["subnet"] for each in shown["subnets"]] == network["subnets"]
    assert (shown["network_interface"], network["icc"]) == (network["bridge"], False)
    with pytest.raises(PodmanFailed, match="no such option"):
        pods("network", "create", "-d", "hostports", "--opt", "mtu=9000", "third")
    pods.site.client.remove_network("other")

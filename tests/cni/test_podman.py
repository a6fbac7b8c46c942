"""What users of Podman see whose list of plugins names ours instead of portmap."""

from collections.abc import Iterator

import pytest

from tests.e2e.site import host_probe, site
from tests.netns.lab import Probe
from tests.podman.room import DEBIAN, ROOT, Podman, PodmanFailed, SetUp, podman, remote

SETUP = SetUp(DEBIAN, ROOT / "docs" / "cni.md", below=5)
WHY_NOT = SETUP.obstacle()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    with site(folder) as made, podman(made, folder, SETUP) as ready:
        yield ready


@pytest.fixture
def pods(empty: Podman) -> Iterator[Podman]:
    """In the end there is nothing left of a test's containers."""
    yield empty
    empty("rm", "--all", "--force", "--time", "0")
    assert empty.site.client.ports()["bindings"] == []
    assert empty.site.client.networks()["networks"] == []


def listed(pods: Podman) -> list[tuple[str, int]]:
    """What `hostports ls` lists: the container's name, and the host port."""
    lines = pods.site.daemon.command("ls").stdout.splitlines()[1:]
    bindings = pods.site.client.ports()["bindings"]
    assert len(lines) == len(bindings)
    return sorted({(each["endpoint"].split("-")[1], each["host_port"]) for each in bindings})


def test_a_port_is_reached_listed_and_gone_with_its_container(pods: Podman) -> None:
    pods.run("web1", "8080:80")
    assert remote(pods, 8080) == ["web1", "web1"]
    probes = [Probe("host", ip, 8080) for ip in ("127.0.0.1", "::1")]
    assert [each.strip() for each in pods.site.answers(*probes)] == ["web1", "web1"]
    assert listed(pods) == [("web1", 8080)]
    assert "0.0.0.0:8080" in pods("port", "web1")
    pods("rm", "--force", "--time", "0", "web1")
    assert remote(pods, 8080) == ["refused", "refused"]
    assert listed(pods) == []


def test_a_port_stays_with_its_container_through_restarts(pods: Podman) -> None:
    pods.run("web1", "8080:80")
    pods("restart", "--time", "0", "web1")
    pods.wait_until_serving("web1")
    assert remote(pods, 8080) == ["web1", "web1"]
    pods("stop", "--time", "0", "web1")
    assert remote(pods, 8080) == ["refused", "refused"]
    pods("start", "web1")
    pods.wait_until_serving("web1")
    assert remote(pods, 8080) == ["web1", "web1"]
    pods.site.daemon.kill()
    pods.site.daemon.start()
    assert remote(pods, 8080) == ["web1", "web1"]


def test_a_port_that_a_container_has_is_refused_to_others(pods: Podman) -> None:
    pods.run("web1", "8080:80")
    with pytest.raises(PodmanFailed, match="cni-web1-"):
        pods.run("web2", "8081:80", "8080:80")
    assert listed(pods) == [("web1", 8080)]
    pods("rm", "--force", "--time", "0", "web1", "web2")
    pods.run("web2", "8081:80", "8080:80")
    assert remote(pods, 8080) == ["web2", "web2"]


def test_ranges_udp_and_host_addresses(pods: Podman) -> None:
    pods.run("web1", "8000-8003:80-83", "5353:53/udp", "10.9.0.1:9000:80", "[fd09::1]:9001:80")
    assert listed(pods) == [("web1", port) for port in (5353, 8000, 8001, 8002, 8003, 9000, 9001)]
    pods.site.lab.namespaces = {**pods.site.lab.namespaces, "web1": pods.namespace("web1")}
    pods.site.lab.serve("web1", "third", [82])
    pods.site.lab.serve("web1", "names", [53], "udp")
    assert remote(pods, 8002) == ["third", "third"]
    assert remote(pods, 5353, "udp") == ["names", "names"]
    assert remote(pods, 9000) == ["web1", "refused"]
    assert remote(pods, 9001) == ["refused", "web1"]


def test_containers_of_one_network_reach_each_other_and_each_its_own_port(pods: Podman) -> None:
    pods.run("web1", "8080:80")
    pods.run("web2", "8081:80")
    inside = {name: pods.namespace(name) for name in ("web1", "web2")}
    pods.site.lab.namespaces = {**pods.site.lab.namespaces, **inside}
    ipv4, ipv6 = pods.addresses("web2")
    probes = [Probe("web1", ip, 80) for ip in (ipv4, ipv6)]
    probes += [host_probe("web1", port) for port in (8080, 8081)]
    answers = [each.strip() for each in pods.site.answers(*probes)]
    assert answers == ["web2", "web2", "web1", "web2"]

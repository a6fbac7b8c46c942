"""The plugin as netavark starts it, with real namespaces and packets, where there is no Podman."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import SILENCE_S, Site, host_probe, site
from tests.netavark.calls import NETWORK, SUBNETS, Json, container, port
from tests.netns.lab import Probe
from tests.podman.room import VENV


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def plugin(made: Site, given: Json, *words: str) -> tuple[int, Json | None]:
    """The exit status and what it says."""
    with made.lab.namespaces["host"].entered():
        done = subprocess.run(
            [VENV / "bin" / "hostports-netavark", *words],
            input=json.dumps(given),
            env={**os.environ, "HOSTPORTS_SOCKET": str(made.daemon.socket)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def test_a_container_is_wired_up_reached_protected_and_torn_down(made: Site) -> None:
    status, network = plugin(made, {**NETWORK, "subnets": SUBNETS}, "create")
    assert status == 0
    assert network
    ips = ("10.90.0.5", "fd90::5")
    given = container(network, "web", ips, port(8080), port(5353, 53, protocol="udp"))
    netns = f"/run/netns/{made.lab.namespaces['nat1'].name}"
    status, said = plugin(made, given, "setup", netns)
    assert status == 0
    assert said
    mac = made.lab.mac("nat1", "eth0")
    assert said["interfaces"]["eth0"]["mac_address"] == mac.hex(":")
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["nat1", "nat1"]
    assert made.answers(host_probe("remote", 5353, protocol="udp")) == ["nat1"]
    direct = [Probe("remote", ip, 80) for ip in ips]
    assert made.answers(*direct, seconds=SILENCE_S) == ["nothing", "nothing"]
    other = container(network, "db", ("10.90.0.6", "fd90::6"), port(8080))
    status, said = plugin(made, other, "setup", f"/run/netns/{made.lab.namespaces['nat2'].name}")
    assert status == 1
    assert said
    assert "endpoint 'web-" in said["error"]
    for _ in range(2):
        assert plugin(made, given, "teardown", netns) == (0, None)
    assert made.answers(*probes) == ["refused", "refused"]
    assert made.client.endpoints()["endpoints"] == []

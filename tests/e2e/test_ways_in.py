"""Other ways to be an endpoint, a network, and a service of systemd."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest
from pyroute2 import IPRoute

from hostports import Client
from tests.e2e.site import COMMAND, Site, host_probe, leftovers, site, wired
from tests.netns.lab import configure, join, up
from tests.relay.waiting import PATIENCE_S


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def test_what_somebody_else_brought_up_is_published_by_its_addresses(made: Site) -> None:
    """A VM, nspawn or a pod: whoever runs it has wired it to the bridge."""
    network = made.client.create_network("nat", subnets=["10.90.0.0/24", "fd90::/64"])
    join(made.lab, "nat1", "tap0", network["bridge"])
    configure(made.lab.namespaces["nat1"], ["10.90.0.9/24", "fd90::9/64"], ["10.90.0.1", "fd90::1"])
    added = made.daemon.command(
        "--json", "endpoint", "add", "nat", "vm", "--address", "10.90.0.9", "--address", "fd90::9"
    )
    assert json.loads(added.stdout)["kind"] == "address"
    made.publish("vm", "8080:80")
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["nat1", "nat1"]
    assert made.daemon.command("endpoint", "rm", "vm").returncode == 0
    with made.lab.namespaces["host"].entered(), IPRoute() as links:
        assert links.link_lookup(ifname="tap0")


def test_a_bridge_of_somebody_else_is_used_and_left_as_it_is(made: Site) -> None:
    host = made.lab.namespaces["host"]
    with host.entered(), IPRoute() as links:
        links.link("add", ifname="cni0", kind="bridge")
        up(links, "cni0", ["10.91.0.1/24", "fd91::1/64"])
    said = made.daemon.command("network", "create", "nat", "--bridge", "cni0", "--existing-bridge")
    assert (said.returncode, said.stderr) == (0, "")
    made.add_container("nat1")
    made.publish("nat1", "8080:80")
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["nat1", "nat1"]
    assert made.daemon.command("network", "rm", "nat", "--force").returncode == 0
    with host.entered(), IPRoute() as links:
        assert links.link_lookup(ifname="cni0")


def test_the_namespace_of_a_process_is_wired_up_by_its_pid(made: Site) -> None:
    made.client.create_network("nat")
    with made.lab.namespaces["nat1"].entered():
        process = subprocess.Popen(["sleep", "infinity"])  # noqa: S607 - any that lasts
    try:
        said = made.daemon.command("endpoint", "add", "nat", "web", "--pid", str(process.pid))
        assert said.returncode == 0
        made.publish("web", "8080:80")
        assert made.answers(host_probe("remote", 8080)) == ["nat1"]
    finally:
        process.kill()
        process.wait()


def test_systemd_gives_the_socket_and_is_told_when_it_is_served(tmp_path: Path) -> None:
    """A client that came before the daemon is served once it is there."""
    path = tmp_path / "activated.sock"
    script = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@" 3<&0'
    paths = ["--state", tmp_path / "state", "--run", tmp_path / "run", "--down-on-exit"]
    command = ["/bin/sh", "-c", script, "sh", *COMMAND, "daemon", *map(str, paths)]
    with (
        wired() as lab,
        socket.socket(socket.AF_UNIX) as given,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        given.bind(str(path))
        given.listen()
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE_S)
        told = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with lab.namespaces["host"].entered():
            process = subprocess.Popen(
                command, stdin=given.fileno(), stdout=subprocess.PIPE, env=told
            )
        try:
            assert Client(path).health()["status"] == "ok"
            assert systemd.recv(100) == b"READY=1"
        finally:
            process.send_signal(SIGTERM)
            said, _ = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, said) == (0, b"")
        assert systemd.recv(100) == b"STOPPING=1"
        assert leftovers(lab) == []

"""Guests of other programs are published by their addresses, as docs/guests.md says."""

import platform
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.e2e.guests import boots, nspawn_container, virtual_machine
from tests.e2e.site import Site, site
from tests.netns.lab import HOST_IPV4
from tests.relay.waiting import PATIENCE_S


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """With a network ``nat`` on bridge ``hp-nat``."""
    with site(tmp_path / "daemon") as made:
        made.client.create_network("nat", subnets=["10.90.0.0/24"])
        yield made


def fetched(made: Site, port: int) -> str:
    """What another host reads at a port of ours."""
    with made.lab.namespaces["remote"].entered():
        asked = HTTPConnection(HOST_IPV4, port, timeout=PATIENCE_S)
        asked.request("GET", "/")
        return asked.getresponse().read().decode()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest's kernel is for x86-64")
def test_a_virtual_machine_of_qemu_is_published(made: Site, tmp_path: Path) -> None:
    host = made.lab.namespaces["host"]
    with host.entered(), IPRoute() as links:
        links.link("add", ifname="tap0", kind="tuntap", mode="tap")
        (tap,), (bridge,) = (links.link_lookup(ifname=each) for each in ("tap0", "hp-nat"))
        links.link("set", index=tap, master=bridge, state="up")
    with virtual_machine(host, tmp_path, "a machine", boots("10.90.0.9/24", "10.90.0.1", "eth0")):
        said = made.daemon.command("endpoint", "add", "nat", "vm", "--address", "10.90.0.9")
        assert (said.returncode, said.stderr) == (0, "")
        assert made.daemon.command("publish", "vm", "8080:80").returncode == 0
        assert fetched(made, 8080) == "a machine"


def test_a_container_of_systemd_nspawn_is_published(made: Site, tmp_path: Path) -> None:
    host, init = made.lab.namespaces["host"], boots("10.90.0.9/24", "10.90.0.1", "host0")
    with nspawn_container(host, tmp_path, "a container", init):
        said = made.daemon.command("endpoint", "add", "nat", "box", "--address", "10.90.0.9")
        assert (said.returncode, said.stderr) == (0, "")
        assert made.daemon.command("publish", "box", "8080:80").returncode == 0
        assert fetched(made, 8080) == "a container"

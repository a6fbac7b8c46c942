"""hostports beside what else publishes ports: docker-proxy, CNI's portmap, netavark.

All publish the same ports of one container in one run, dual-stack where they can; hosts are
network namespaces. The peers are Debian's, unpacked but not installed, in folders by their suite:
portmap knows nftables from 1.6 on, which no stable one has. ``--write FILE`` puts the
figures into a page. It wants root and Debian's package manager.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from platform import release
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from types import MappingProxyType
from typing import Final, NamedTuple

from pyroute2 import IPRoute

from bench.debian import unpack, unpack_suite
from bench.publish import processes, resident
from tests.e2e.site import Site, host_probe, site, wired
from tests.netns.lab import Lab, configure, join, up
from tests.relay.waiting import PATIENCE_S

PLUGINS: Final = "containernetworking-plugins"
PACKAGES: Final = (PLUGINS, "docker.io", "netavark")
UNSTABLE: Final = "unstable"
#: Numbers of ports that are published in one call, and how often each is measured: with a thousand,
#: some peers take minutes.
ROUNDS: Final[Mapping[int, int]] = {1: 5, 100: 3, 1_000: 1}
CONNECTIONS: Final = 300
#: Every second port, so that nobody can take them for a range.
PORTS: Final = range(20_000, 22_000, 2)
CONTAINER: Final = "10.90.0.2"
GATEWAY: Final = "10.90.0.1"


class Figures(NamedTuple):
    """Seconds to publish and to release, megabytes held, microseconds of a connection (p50)."""

    publish: float
    release: float
    memory: float
    connect: float


class Peer:
    """Something that publishes ports of the lab's container ``nat1``."""

    def __init__(self, lab: Lab, folder: Path, debian: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.debian = debian

    def wire(self) -> None:
        """Bring the container's network up."""
        with self.lab.namespaces["host"].entered(), IPRoute() as links:
            links.link("add", ifname="cni0", kind="bridge")
            up(links, "cni0", [f"{GATEWAY}/24"])
        self.lab.namespaces["host"].sysctl("net.ipv4.ip_forward", "1")
        join(self.lab, "nat1", "veth0", "cni0")
        configure(self.lab.namespaces["nat1"], [f"{CONTAINER}/24"], [GATEWAY])

    def publish(self, ports: Sequence[int]) -> None:
        """Publish these ports of the host, all of them for the container's port 80."""
        raise NotImplementedError

    def release(self) -> None:
        """Take all of them back."""
        raise NotImplementedError

    def processes(self) -> list[int]:
        """The processes that hold what is published."""
        return []

    def called(self, command: Sequence[str], document: object, **environment: str) -> None:
        """Run a plugin in the host's namespace, with a JSON document on its standard input."""
        with self.lab.namespaces["host"].entered():
            done = subprocess.run(  # noqa: S603 - Debian's
                command,
                input=json.dumps(document).encode(),
                capture_output=True,
                env={**os.environ, **environment},
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout.decode()} {done.stderr.decode()}")


class Hostports(Peer):
    """Ours, through the API: rules, reservation and relay for IPv4 and IPv6."""

    made: Site

    def wire(self) -> None:
        """A network and an endpoint of ours."""
        self.made.client.create_network("nat")
        self.made.add_container("nat1")

    def publish(self, ports: Sequence[int]) -> None:
        """One call."""
        self.made.publish("nat1", *(f"{port}:80" for port in ports))

    def release(self) -> None:
        """One call."""
        self.made.client.unpublish("nat1")

    def processes(self) -> list[int]:
        """The daemon and the relay."""
        return list(processes(self.made))


class DockerProxy(Peer):
    """Docker's userland proxy alone: two processes a port, and none of dockerd's rules."""

    def __init__(self, lab: Lab, folder: Path, debian: Path) -> None:
        super().__init__(lab, folder, debian)
        self._running: list[subprocess.Popen[bytes]] = []

    def publish(self, ports: Sequence[int]) -> None:
        """As dockerd: start each, and wait until it tells on descriptor 3 that it listens."""
        shell = ["/bin/sh", "-c", 'exec "$0" "$@" 3>&1 2>/dev/null']
        program = str(self.debian / "usr/sbin/docker-proxy")
        to = ["-proto", "tcp", "-container-ip", CONTAINER, "-container-port", "80"]
        for port in ports:
            for ip in ("0.0.0.0", "::"):
                at = ["-host-ip", ip, "-host-port", str(port)]
                with self.lab.namespaces["host"].entered():
                    started = subprocess.Popen(  # noqa: S603 - Debian's
                        [*shell, program, *to, *at], stdout=subprocess.PIPE
                    )
                self._running.append(started)
                if not started.stdout or started.stdout.readline() != b"0\n":
                    raise RuntimeError(f"docker-proxy for {ip} {port} failed")

    def release(self) -> None:
        """End all of them, and wait."""
        for each in self._running:
            each.send_signal(signal.SIGINT)
        for each in self._running:
            each.communicate(timeout=PATIENCE_S)
        self._running.clear()

    def processes(self) -> list[int]:
        """Two for each port."""
        return [each.pid for each in self._running]


class Portmap(Peer):
    """CNI's portmap on iptables: one ADD and one DEL, IPv4 only as the container's address is."""

    _ports: Sequence[int] = ()
    _more: Mapping[str, str] = MappingProxyType({})

    @property
    def folder_of_plugins(self) -> Path:
        """Where Debian has them."""
        return self.debian / "usr/lib/cni"

    def publish(self, ports: Sequence[int]) -> None:
        """ADD with all mappings."""
        self._ports = ports
        self._asked("ADD")

    def release(self) -> None:
        """DEL."""
        self._asked("DEL")

    def _asked(self, command: str) -> None:
        mappings = [
            {"hostPort": port, "containerPort": 80, "protocol": "tcp"} for port in self._ports
        ]
        document = {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "portmap",
            **self._more,
            "runtimeConfig": {"portMappings": mappings},
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "sandbox": "/run/netns/nat1"}],
                "ips": [{"address": f"{CONTAINER}/24", "gateway": GATEWAY, "interface": 0}],
            },
        }
        self.called(
            [str(self.folder_of_plugins / "portmap")],
            document,
            CNI_COMMAND=command,
            CNI_CONTAINERID="bench",
            CNI_NETNS=f"/run/netns/{self.lab.namespaces['nat1'].name}",
            CNI_IFNAME="eth0",
            CNI_PATH=str(self.folder_of_plugins),
        )


class NftablesPortmap(Portmap):
    """The same on nftables."""

    _more = MappingProxyType({"backend": "nftables"})

    @property
    def folder_of_plugins(self) -> Path:
        """Where unstable has them."""
        return self.debian / UNSTABLE / "usr/lib/cni"


class Netavark(Peer):
    """Podman's netavark on iptables: its set-up wires the container as well."""

    _ports: Sequence[int] = ()

    def wire(self) -> None:
        """Its business."""

    def publish(self, ports: Sequence[int]) -> None:
        """Set up."""
        self._ports = ports
        self._asked("setup")

    def release(self) -> None:
        """Tear down."""
        self._asked("teardown")

    def _asked(self, command: str) -> None:
        network = {
            "name": "bench",
            "id": "b" * 64,
            "driver": "bridge",
            "network_interface": "podman0",
            "created": "2026-01-01T00:00:00Z",
            "subnets": [{"subnet": "10.90.0.0/24", "gateway": GATEWAY}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        mappings = [
            {"host_ip": "", "host_port": port, "container_port": 80, "protocol": "tcp", "range": 1}
            for port in self._ports
        ]
        document = {
            "container_id": "c" * 64,
            "container_name": "bench",
            "networks": {"bench": {"static_ips": [CONTAINER], "interface_name": "eth0"}},
            "network_info": {"bench": network},
            "port_mappings": mappings,
        }
        namespace = f"/run/netns/{self.lab.namespaces['nat1'].name}"
        netavark = str(self.debian / "usr/lib/podman/netavark")
        self.called([netavark, "--config", str(self.folder), command, namespace], document)


@contextmanager
def hostports(folder: Path, debian: Path) -> Iterator[Peer]:
    """Ours, with its daemon."""
    with site(folder) as made:
        peer = Hostports(made.lab, folder, debian)
        peer.made = made
        yield peer


@contextmanager
def alone(kind: type[Peer], folder: Path, debian: Path) -> Iterator[Peer]:
    """A peer that needs no daemon."""
    with wired() as lab:
        yield kind(lab, folder, debian)


PEERS: Final[Mapping[str, Callable[[Path, Path], AbstractContextManager[Peer]]]] = {
    "hostports": hostports,
    "docker-proxy": partial(alone, DockerProxy),
    "CNI portmap": partial(alone, Portmap),
    "CNI portmap, nft": partial(alone, NftablesPortmap),
    "netavark": partial(alone, Netavark),
}
_WIDTH: Final = max(map(len, PEERS)) + 1
#: What a column shows, and how the chart calls it.
COLUMNS: Final = {
    "publish": "publish, ms",
    "release": "release, ms",
    "memory": "memory held, MB",
    "connect": "connection, us",
}


def measured(name: str, count: int, debian: Path) -> Figures:
    """The medians of a peer with so many ports, always on a new host."""
    rounds = []
    for _ in range(ROUNDS[count]):
        with (
            TemporaryDirectory(prefix="hostports-bench-") as folder,
            PEERS[name](Path(folder), debian) as peer,
        ):
            peer.wire()
            rounds.append(_round(peer, PORTS[:count]))
    return Figures(*map(median, zip(*rounds, strict=True)))


def _round(peer: Peer, ports: Sequence[int]) -> Figures:
    publish = _seconds(lambda: peer.publish(ports))
    last = host_probe("remote", ports[-1])
    (answer,) = peer.lab.ask([last], PATIENCE_S)
    if not answer.startswith("nat1 "):
        raise RuntimeError(f"port {last.port}: {answer}")
    memory = sum(map(resident, peer.processes()))
    connect = median(_seconds(lambda: peer.lab.ask([last], PATIENCE_S)) for _ in range(CONNECTIONS))
    return Figures(publish * 1e3, _seconds(peer.release) * 1e3, memory, connect * 1e6)


def _seconds(step: Callable[[], object]) -> float:
    start = perf_counter()
    step()
    return perf_counter() - start


def page(found: Mapping[tuple[str, int], Figures]) -> str:
    """The figures as a page: a table, and a chart of each column."""
    return "\n".join([*_table(found), "", *_charts(found)])


def _table(found: Mapping[tuple[str, int], Figures]) -> Iterator[str]:
    yield f"| | ports | {' | '.join(COLUMNS.values())} |"
    yield f"| --- | ---: |{' ---: |' * len(COLUMNS)}"
    for (name, count), figures in found.items():
        yield f"| {name} | {count:,} | {' | '.join(map(_shown, figures))} |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _charts(found: Mapping[tuple[str, int], Figures]) -> Iterator[str]:
    most = max(count for _, count in found)
    for column, title in COLUMNS.items():
        values = {
            name: getattr(figures, column)
            for (name, count), figures in found.items()
            if count == most
        }
        longest = max(values.values()) or 1
        yield f"{title}, with {most:,} ports:\n\n```"
        for name, value in values.items():
            yield f"{name:{_WIDTH}}{'█' * round(40 * value / longest):41}{_shown(value)}"
        yield "```\n"


def main() -> None:
    """Measure and print; with ``--write``, put the figures into a page between its marks."""
    parser = argparse.ArgumentParser("bench.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--write", type=Path, metavar="FILE")
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found: dict[tuple[str, int], Figures] = {}
    with TemporaryDirectory(prefix="hostports-bench-") as debian:
        unpack(Path(debian), *PACKAGES)
        if "CNI portmap, nft" in asked.only:
            unpack_suite(UNSTABLE, Path(debian, UNSTABLE), PLUGINS)
        for count in ROUNDS:
            for name in asked.only:
                found[name, count] = measured(name, count, Path(debian))
                print(
                    f"{name:{_WIDTH}}{count:>8,}",
                    *map("{:>12}".format, map(_shown, found[name, count])),
                    flush=True,
                )
    if asked.write:
        head, mark, _ = asked.write.read_text().partition("<!-- figures -->\n")
        asked.write.write_text(
            f"{head}{mark}\nLinux {release()}, {os.cpu_count()} cores.\n\n{page(found)}"
        )


if __name__ == "__main__":
    main()

"""Our relay beside Docker's docker-proxy: what it moves, how fast it answers, what it needs.

A client, a host and a container are network namespaces in a row. The relay runs in the host's, and
``load.c`` makes clients and servers for the others. The relays take turns, always in new
namespaces, and medians are compared. ``direct`` is the container without a relay, its host being a
router. docker-proxy comes from Debian's package docker.io, which is unpacked but not installed. It
wants root, gcc and Debian's package manager.
"""

import argparse
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from math import isnan, nan
from operator import ge, le
from pathlib import Path
from statistics import median
from subprocess import PIPE, CalledProcessError, Popen, run
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pyroute2 import IPRoute
from pyroute2.netns import NETNS_RUN_DIR

from bench.debian import unpack
from hostports.errors import HostportsError
from hostports.interfaces import RelayedBinding
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import PortBinding, Protocol
from hostports.relay import compiled
from hostports.relay.client import RelayClient
from hostports.relay.launch import start_relay
from tests.netns.namespaces import Namespace
from tests.relay.lab import BRIDGE_IPV4, CONTAINER_IPV4, HOST_IPV4, Lab, lab
from tests.relay.proc import Process

LOAD = Path(__file__).with_name("load.c")
Port = tuple[Protocol, int]
#: The services of load.c.
SERVICES = [(Protocol.TCP if port < 9004 else Protocol.UDP, port) for port in range(9000, 9006)]
Figures = Mapping[str, float]


class Failed(Exception):
    """A subject could not be measured."""


class Subject:
    """A way from client to container; this one is none at all: the host is a router."""

    #: Where clients find the container's ports.
    address = CONTAINER_IPV4

    def start(self, made: Lab) -> None:
        """Begin, without ports."""
        made.host.sysctl("net.ipv4.ip_forward", "1")
        for where, gateway in ((made.client, HOST_IPV4), (made.container, BRIDGE_IPV4)):
            with where.entered(), IPRoute() as links:
                links.route("add", dst="default", gateway=gateway)

    def publish(self, ports: Sequence[Port]) -> None:
        """Lead these ports of the host to the same ports of the container, too."""

    def processes(self) -> list[int]:
        """The processes at work."""
        return []

    def stop(self) -> None:
        """End them."""


class DockerProxy(Subject):
    """Docker's relay: a process for every port."""

    address = HOST_IPV4

    def __init__(self, program: Path) -> None:
        self._program = program
        self._host: Namespace
        self._running: list[Popen[bytes]] = []

    def start(self, made: Lab) -> None:
        """Nothing runs without ports."""
        self._host = made.host

    def publish(self, ports: Sequence[Port]) -> None:
        """Start a process for each port; it tells when it listens."""
        for port in ports:
            with self._host.entered():
                self._running.append(self._proxy(*port))
            if (said := first_line(self._running[-1])) != b"0\n":
                raise Failed(f"docker-proxy for {port}: {said!r}")

    def processes(self) -> list[int]:
        """One for each port."""
        return [each.pid for each in self._running]

    def stop(self) -> None:
        """End all processes."""
        for each in self._running:
            with each:
                each.terminate()
        self._running.clear()

    def _proxy(self, protocol: Protocol, port: int) -> "Popen[bytes]":
        """A process that tells on descriptor 3, which the shell makes our pipe, how it went."""
        shell = ["sh", "-c", 'exec "$0" "$@" 3>&1 2>/dev/null', str(self._program)]
        host = ["-host-ip", HOST_IPV4, "-host-port", str(port)]
        container = ["-container-ip", CONTAINER_IPV4, "-container-port", str(port)]
        command = [*shell, "-proto", protocol.value, *host, *container]
        return Popen(command, stdout=PIPE)  # noqa: S603


class OurRelay(Subject):
    """One process for all ports."""

    address = HOST_IPV4

    def __init__(self, folder: Path) -> None:
        self._path = folder / "relay"
        self._host: Namespace
        self._process: Popen[bytes]

    def start(self, made: Lab) -> None:
        """Start the process and wait until it answers."""
        self._host = made.host
        with made.host.entered():
            self._process = start_relay(self._path)
        with RelayClient(self._path) as relay:
            relay.held()

    def publish(self, ports: Sequence[Port]) -> None:
        """Open sockets and hand them over, as the engine does."""
        sockets = LinuxHostSockets()
        bindings = [_binding(*port) for port in ports]
        with self._host.entered():
            for each in bindings:
                sockets.reserve(each.socket)
                sockets.listen(each.socket, relayed=True)
        with RelayClient(self._path) as relay:
            relay.add([RelayedBinding(each, sockets.fileno(each.socket)) for each in bindings])
        for each in bindings:
            sockets.release(each.socket)

    def processes(self) -> list[int]:
        """Always one."""
        return [self._process.pid]

    def stop(self) -> None:
        """End the process, however it is."""
        self._process.kill()
        self._process.wait()
        self._path.unlink(missing_ok=True)


def first_line(process: "Popen[bytes]") -> bytes:
    """What a process says first; nothing if it ends without a word."""
    return process.stdout.readline() if process.stdout else b""


def _binding(protocol: Protocol, port: int) -> PortBinding:
    host, container = ip_address(HOST_IPV4), ip_address(CONTAINER_IPV4)
    return PortBinding("bench", "c", protocol, host, port, container, port)


@dataclass(frozen=True)
class Stand:
    """Where a subject is measured, and with what."""

    lab: Lab
    subject: Subject
    load: Path
    seconds: float

    def speed(self, *arguments: object) -> Figures:
        """What a load of load.c finds."""
        self.subject.publish(SERVICES)
        with self._loaded(*arguments, self.seconds) as figures:
            return figures

    def exchanges(self, at_a_time: int) -> Figures:
        """Short connections, and what each costs the subject."""
        self.subject.publish(SERVICES)
        before = self._processor_time()
        with self._loaded("connect", at_a_time, self.seconds) as figures:
            spent = self._processor_time() - before
        return {**figures, "CPU": 1e6 * spent / figures["made"]}

    def ports(self, number: int) -> Figures:
        """What ports without clients need."""
        before = self.memory()
        self.subject.publish([(Protocol.TCP, port) for port in range(2_000, 2_000 + number)])
        after = self.memory()
        each = (after - before) / number
        return {"PSS": after / 1e6, "RSS": self.memory("Rss") / 1e6, "each": each / 1e3}

    def connections(self, number: int) -> Figures:
        """What connections need that are open and were used."""
        self.subject.publish(SERVICES)
        before = self.memory()
        with self._loaded("hold", number):
            return {"each": (self.memory() - before) / number / 1e3}

    def memory(self, kind: str = "Pss") -> float:
        """Bytes that the subject's processes have in user space; Pss shares out what is shared."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup") for pid in self.subject.processes())
        fields = (line.split() for rollup in rollups for line in rollup.read_text().splitlines())
        return sum(1024 * int(value) for name, value, *_ in fields if name == f"{kind}:")

    def _processor_time(self) -> float:
        """Seconds that the subject's processes have used."""
        return sum(Process(pid).processor_time() for pid in self.subject.processes())

    @contextmanager
    def _loaded(self, *arguments: object) -> Iterator[Figures]:
        """A load's figures; what it holds, it holds until the end of the block."""
        container = f"{NETNS_RUN_DIR}/{self.lab.container.name}"
        command = [str(self.load), container, self.subject.address, *map(str, arguments)]
        with self.lab.client.entered():
            process = Popen(command, stdin=PIPE, stdout=PIPE)  # noqa: S603
        with process:
            if not (figures := first_line(process)):
                raise Failed(f"load {arguments}")
            yield json.loads(figures)


MEASUREMENTS: Mapping[str, Callable[[Stand], Figures]] = {
    "up-1": lambda stand: stand.speed("up", 1),
    "up-4": lambda stand: stand.speed("up", 4),
    "down-1": lambda stand: stand.speed("down", 1),
    "down-4": lambda stand: stand.speed("down", 4),
    "tcp-ping": lambda stand: stand.speed("tcp-ping"),
    "connect-1": lambda stand: stand.exchanges(1),
    "connect-64": lambda stand: stand.exchanges(64),
    "udp-60k-64": lambda stand: stand.speed("flood", 64, 60_000),
    "udp-60k-1400": lambda stand: stand.speed("flood", 1400, 60_000),
    "udp-max-64": lambda stand: stand.speed("flood", 64, 0),
    "udp-max-1400": lambda stand: stand.speed("flood", 1400, 0),
    "udp-ping": lambda stand: stand.speed("udp-ping"),
    "idle": lambda stand: {"RSS": stand.memory("Rss") / 1e6},
    "ports-1000": lambda stand: stand.ports(1_000),
    "ports-10000": lambda stand: stand.ports(10_000),
    "connections": lambda stand: stand.connections(1_000),
}
DIRECT, DOCKER_PROXY, OURS = "direct", "docker-proxy", "ours"
#: Who is measured, where it isn't everybody; few hosts bear 10,000 processes of docker-proxy.
MEASURED = {
    **dict.fromkeys(("idle", "ports-10000"), (OURS,)),
    **dict.fromkeys(("ports-1000", "connections"), (DOCKER_PROXY, OURS)),
}


class Bar(NamedTuple):
    """What our figure has to reach: so many times docker-proxy's, or a value."""

    reached: Callable[[float, float], bool]
    limit: float
    relative: bool = True

    def __str__(self) -> str:
        return f"{'>=' if self.reached is ge else '<='} {self.limit:g}{'x' * self.relative}"

    def verdict(self, value: float, ratio: float) -> str:
        """Whether it is reached."""
        return "pass" if self.reached(ratio if self.relative else value, self.limit) else "FAIL"


class Row(NamedTuple):
    """A line of the table: a figure of a measurement, and what it has to reach."""

    measurement: str
    figure: str
    text: str
    bar: Bar | None = None


FASTER, NONE = Bar(ge, 1.3), Bar(le, 0, relative=False)
ROWS = (
    Row("up-1", "gbit/s", "TCP upload, 1 stream, Gbit/s", Bar(ge, 1)),
    Row("up-4", "gbit/s", "TCP upload, 4 streams, Gbit/s", Bar(ge, 1)),
    Row("down-1", "gbit/s", "TCP download, 1 stream, Gbit/s", Bar(ge, 1)),
    Row("down-4", "gbit/s", "TCP download, 4 streams, Gbit/s", Bar(ge, 1)),
    Row("tcp-ping", "p50", "TCP ping-pong of 64 B, p50 in us", Bar(le, 0.9)),
    Row("tcp-ping", "p99", "  p99 in us"),
    Row("connect-1", "per second", "TCP connections/s, 1 at a time", FASTER),
    Row("connect-1", "failed", "  failed", NONE),
    Row("connect-1", "CPU", "  CPU of each in us"),
    Row("connect-64", "per second", "TCP connections/s, 64 at a time", FASTER),
    Row("connect-64", "failed", "  failed", NONE),
    Row("connect-64", "CPU", "  CPU of each in us"),
    Row("udp-60k-64", "per second", "UDP, 64 B, 60,000/s sent: arrived/s"),
    Row("udp-60k-64", "lost %", "  lost in %", NONE),
    Row("udp-60k-1400", "per second", "UDP, 1400 B, 60,000/s sent: arrived/s"),
    Row("udp-60k-1400", "lost %", "  lost in %", NONE),
    Row("udp-max-64", "per second", "UDP, 64 B, saturated: arrived/s", Bar(ge, 1.1)),
    Row("udp-max-1400", "per second", "UDP, 1400 B, saturated: arrived/s", Bar(ge, 1.1)),
    Row("udp-ping", "p50", "UDP ping-pong of 64 B, p50 in us"),
    Row("udp-ping", "p99", "  p99 in us"),
    Row("idle", "RSS", "memory when idle, RSS in MB", Bar(le, 40, relative=False)),
    Row("ports-1000", "PSS", "memory with 1,000 TCP ports, PSS in MB", Bar(le, 1 / 50)),
    Row("ports-1000", "RSS", "  RSS in MB", Bar(le, 1 / 50)),
    Row("ports-1000", "each", "  each in kB", Bar(le, 3, relative=False)),
    Row("ports-10000", "RSS", "memory with 10,000 TCP ports, RSS in MB"),
    Row("ports-10000", "each", "  each in kB", Bar(le, 3, relative=False)),
    Row("connections", "each", "memory of a TCP connection in kB", Bar(le, 8, relative=False)),
)


@dataclass(frozen=True)
class Bench:
    """Who is measured, and how."""

    subjects: Mapping[str, Subject]
    load: Path
    rounds: int
    seconds: float

    def table(self, measurements: Sequence[str]) -> Iterator[str]:
        """The table, line by line."""
        yield line("", *self.subjects, "ratio", "bar", "")
        for name in measurements:
            found = {each: medians(rounds) for each, rounds in self._found(name).items()}
            yield from (row_line(row, found) for row in ROWS if row.measurement == name)

    def _found(self, name: str) -> Mapping[str, Sequence[Figures]]:
        """What a measurement finds of each subject; the order changes with every round."""
        found: dict[str, list[Figures]] = {each: [] for each in self.subjects}
        order = [each for each in self.subjects if each in MEASURED.get(name, found)]
        for _ in range(self.rounds):
            for each in order:
                try:
                    found[each].append(self._measured(name, self.subjects[each]))
                except (Failed, HostportsError) as error:
                    print(f"{name}, {each}: {error}", file=sys.stderr)
            order.reverse()
        return found

    def _measured(self, name: str, subject: Subject) -> Figures:
        with lab() as made:
            subject.start(made)
            try:
                return MEASUREMENTS[name](Stand(made, subject, self.load, self.seconds))
            finally:
                subject.stop()


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    names = rounds[0] if rounds else ()
    return {name: median(each[name] for each in rounds) for name in names}


def row_line(row: Row, found: Mapping[str, Figures]) -> str:
    """A row with what was found of each subject."""
    values = {each: figures.get(row.figure, nan) for each, figures in found.items()}
    ours, theirs = values.get(OURS, nan), values.get(DOCKER_PROXY, nan)
    ratio = ours / theirs if theirs else nan
    judged = (str(row.bar), row.bar.verdict(ours, ratio)) if row.bar else ("", "")
    return line(row.text, *map(shown, (*values.values(), ratio)), *judged)


def shown(value: float) -> str:
    """A figure as the table shows it; a dash for what was not measured."""
    if isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def line(text: str, *columns: str) -> str:
    """A line of the table."""
    return f"{text:40}" + "".join(f"{each:>14}" for each in columns)


def unpacked_docker_proxy(folder: Path) -> Path | None:
    """Debian's docker-proxy, if it can be had."""
    with suppress(CalledProcessError):
        unpack(folder, "docker.io")
    return next((each for each in folder.rglob("docker-proxy") if each.is_file()), None)


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser("bench.relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS)
    parser.add_argument("--subject", nargs="+", choices=(DIRECT, DOCKER_PROXY, OURS))
    parser.add_argument("--docker-proxy", type=Path, help="another one than Debian's")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    asked = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that namespaces are removed
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with TemporaryDirectory(prefix="hostports-bench-") as name:
        folder = Path(name)
        load = folder / "load"
        run(["gcc", "-O2", "-o", load, LOAD], check=True)  # noqa: S603, S607
        docker_proxy = asked.docker_proxy or unpacked_docker_proxy(folder)
        if not docker_proxy:
            sys.exit("bench.relay: nothing to compare with, as Debian's docker.io can't be had")
        subjects = {
            DIRECT: Subject(),
            DOCKER_PROXY: DockerProxy(docker_proxy),
            OURS: OurRelay(folder),
        }
        print(f"our relay {'is compiled' if compiled.found() else 'runs interpreted'}")
        chosen = {each: subjects[each] for each in asked.subject or subjects}
        for text in Bench(chosen, load, asked.rounds, asked.seconds).table(asked.only):
            print(text, flush=True)


if __name__ == "__main__":
    main()

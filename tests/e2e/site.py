"""A host with a real daemon, containers that it wires up, and other hosts around it.

All are network namespaces. What a container answers is its name and whom it sees.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

from pyroute2 import IPRoute

from hostports import Client
from hostports.core.rules.iptables.place import OURS
from hostports.core.rules.skeleton import TABLE
from tests.netns.lab import HOST_IPV4, HOST_IPV6, Lab, Probe, answering, configure, join, up
from tests.netns.namespaces import namespace
from tests.relay.waiting import PATIENCE_S

#: Seconds to wait for an answer that should not come.
SILENCE_S: Final = 0.5
#: Other hosts: their interface on ours, and the first parts of their addresses.
OTHERS: Final = {
    "remote": ("uplink0", "10.9.0", "fd09::"),
    "trusted": ("trust0", "10.8.0", "fd08::"),
}
#: Networks as the API is asked for them; their containers are called like them and a number.
NETWORKS: Final[Mapping[str, Mapping[str, object]]] = {
    "nat": {"trusted_host_interfaces": ["trust0"]},
    "other": {},
    "four": {"subnets": ["10.90.0.0/24"]},
    "six": {"subnets": ["fd90::/64"]},
    "routed": dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), "routed"),
    "open": dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), "nat-unprotected"),
}
CONTAINERS: Final = ("nat1", "nat2", "other1", "four1", "six1", "routed1", "open1")
COMMAND: Final = (sys.executable, "-m", "hostports")
DAEMON: Final = (*COMMAND, "daemon")
#: What containers serve.
TCP_PORTS, UDP_PORTS = (80, 81), (53,)


class Daemon:
    """A daemon in the host's namespace: its process, and a client of it."""

    def __init__(
        self, lab: Lab, folder: Path, flags: Sequence[str], bus: str = "unix:path=/nowhere"
    ) -> None:
        self._lab = lab
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus}
        self.folder = folder
        self.flags = flags
        #: Where the relay has its socket; the API's stays where it is.
        self.run = folder / "run"
        self.socket = self.run / "api.sock"
        self.client = Client(self.socket)
        #: What stands before its command, as nsenter(1) for other mounts.
        self.entering: Sequence[str] = ()
        self.process: subprocess.Popen[str]

    @property
    def relayed(self) -> bool:
        """Whether it has a relay."""
        return "--no-relay" not in self.flags

    def start(self, *more: str) -> None:
        """Start, with more flags, and wait until it serves."""
        self.launch(*more)
        assert self.serves()

    def launch(self, *more: str, program: Sequence[str] = DAEMON) -> None:
        """Start, with more flags, `program` being the daemon or one like it."""
        paths = ["--state", self.folder / "state", "--run", self.run, "--socket", self.socket]
        command = [*self.entering, *program, *map(str, paths), *self.flags, *more]
        with self._lab.namespaces["host"].entered():
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=self._environment
            )

    def serves(self) -> bool:
        """Wait until it serves; False if it has ended instead."""
        assert self.process.stdout
        return self.process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """Tell it to stop, and see that it does."""
        self.process.send_signal(SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout
        self.process.stdout.close()

    def take_down(self) -> None:
        """End it, and let another one take down what it left."""
        if self.process.poll() is None:
            self.stop()
        self.start("--down-on-exit")
        self.stop()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the command line says, in the host's namespace."""
        command = [*COMMAND, "--socket", str(self.socket), *arguments]
        with self._lab.namespaces["host"].entered():
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@dataclass
class Site:
    """The namespaces, the daemon, and containers' addresses by name and IP version."""

    lab: Lab
    daemon: Daemon
    addresses: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        """The API."""
        return self.daemon.client

    def publish(self, endpoint: str, *specs: str, **how: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
        """Publish, and give the bindings."""
        bindings: list[dict[str, Any]] = self.client.publish(endpoint, specs, **how)["bindings"]
        return bindings

    def answers(self, *probes: Probe, seconds: float = PATIENCE_S) -> list[str]:
        """Who answers: the names of containers, or ``refused`` or ``nothing``."""
        return [each.partition(" ")[0] for each in self.lab.ask(probes, seconds)]

    def seen(self, probe: Probe) -> str:
        """From which address a container sees a client."""
        return self.lab.ask([probe], PATIENCE_S)[0].partition(" ")[2]

    def subnet(self, network: str, version: int) -> str:
        """The first part of a network's addresses, as ``10.87.0.``."""
        found: list[str] = self.client.network(network)["subnets"]
        (subnet,) = (each for each in found if (":" in each) == (version == 6))
        return subnet.rpartition("/")[0].removesuffix("0")

    def add_networks(self) -> None:
        """Create all networks and add all containers."""
        for name, settings in NETWORKS.items():
            self.client.create_network(name, **settings)
        for name in CONTAINERS:
            self.add_container(name)

    def add_container(self, name: str) -> None:
        """Add a container to the network that it is called after."""
        network, netns = name.rstrip("0123456789"), self.lab.namespaces[name].name
        added = self.client.add_endpoint(network, name, netns=netns)
        found = added["addresses"]
        self.addresses[name] = {6 if ":" in each else 4: each for each in found}


@contextmanager
def site(folder: Path, *flags: str) -> Iterator[Site]:
    """A host with a daemon, without networks; in the end everything is taken down.

    Nothing of it may be left in the host's namespace then.
    """
    with wired() as lab:
        daemon = Daemon(lab, folder, flags)
        daemon.start()
        try:
            yield Site(lab, daemon)
        finally:
            daemon.take_down()
        assert leftovers(lab) == []


@contextmanager
def wired() -> Iterator[Lab]:
    """The namespaces: other hosts are wired to ours, containers are not."""
    with ExitStack() as stack:
        names = ["host", *OTHERS, *CONTAINERS]
        made = Lab({name: stack.enter_context(namespace()) for name in names})
        for each in made.namespaces.values():
            # Addresses can be used at once: nobody else can have them.
            each.sysctl("net.ipv6.conf.default.accept_dad", "0")
            each.sysctl("net.ipv6.conf.all.accept_dad", "0")
        for name, (interface, ipv4, ipv6) in OTHERS.items():
            join(made, name, interface)
            with made.namespaces["host"].entered(), IPRoute() as links:
                up(links, interface, [f"{ipv4}.1/24", f"{ipv6}1/64"])
            configure(
                made.namespaces[name], [f"{ipv4}.2/24", f"{ipv6}2/64"], [f"{ipv4}.1", f"{ipv6}1"]
            )
        for name in CONTAINERS:
            made.serve(name, name, TCP_PORTS)
            made.serve(name, name, UDP_PORTS, "udp")
        stack.enter_context(answering(made))
        yield made


def leftovers(lab: Lab) -> list[str]:
    """What is left of us in the host's namespace: interfaces, rules, listening sockets."""
    with lab.namespaces["host"].entered(), IPRoute() as links:
        left = [str(each.get_attr("IFLA_IFNAME")) for each in links.get_links()]
        commands = (["nft", "list", "ruleset"], ["ss", "-Hltun"])
        rules, sockets = (
            subprocess.run(each, capture_output=True, text=True, check=True).stdout
            for each in commands
        )
    ours = [each for each in left if each.startswith(("hp-", "hpv-"))]
    # Chains of iptables' own stay, and are empty.
    if any(name in rules for name in (f"table inet {TABLE} ", OURS)):
        ours.append(rules)
    return ours + ([sockets] if sockets else [])


def host_probe(where: str, port: int, *, version: int = 4, protocol: str = "tcp") -> Probe:
    """A question to the host's own address."""
    return Probe(where, HOST_IPV4 if version == 4 else HOST_IPV6, port, protocol)

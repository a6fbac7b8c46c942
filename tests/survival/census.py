"""What there is of us on a host, everywhere that it can be: record, API, kernel, relay, files.

After a restart all of these must say the same, whatever was going on when the daemon was killed.
"""

import os
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute

from hostports.brackets import bracketed
from hostports.core.networks import cable_name
from hostports.core.rules.data import Settings
from hostports.linux import firewalls
from hostports.model.address import Family
from hostports.model.firewall import FirewallItem
from hostports.model.state import State
from hostports.relay.client import RelayClient
from hostports.store.sqlite import SqliteStore
from tests.e2e.site import Daemon
from tests.netns.lab import Lab
from tests.netns.namespaces import Namespace, iptables_of_ours, namespace, table_of_ours
from tests.relay.waiting import eventually
from tests.survival.workers import Fact

#: What may be in the daemon's directories.
_FILES: Final = {
    *("run/api.sock", "run/relay.sock", "elsewhere/relay.sock"),
    *(f"state/state.sqlite3{suffix}" for suffix in ("", "-wal", "-shm", ".lock")),
}
#: A daemon that will kill itself is one like any other.
_SAME: Final = {"tests.survival.doomed": "hostports"}


@dataclass(frozen=True)
class Census:
    """A host to be looked at; its daemon serves."""

    lab: Lab
    daemon: Daemon

    def record(self) -> State:
        """What is recorded, read from a copy."""
        copy = self.daemon.folder / "copy"
        copy.mkdir(exist_ok=True)
        source = f"file:{self.daemon.folder / 'state' / 'state.sqlite3'}?mode=ro"
        file = copy / "state.sqlite3"
        with (
            closing(sqlite3.connect(source, uri=True)) as recorded,
            closing(sqlite3.connect(file)) as copied,
        ):
            recorded.backup(copied)
        with SqliteStore(file) as store:
            state = store.load()
        for each in copy.iterdir():
            each.unlink()
        copy.rmdir()
        return state

    def check(self) -> State:
        """See that all say the same as the record, which is returned."""
        state = self.record()
        bindings = state.bindings
        assert self._files() <= _FILES
        assert self._told() == [*state.networks, *state.endpoints, *sorted(map(str, bindings))]
        if self.daemon.relayed:
            assert self._held() == sorted(map(str, bindings))
        assert self._listening() == sorted(str(each.host_socket) for each in bindings)
        assert self._links() == _wanted_links(state)
        assert self._inside() == _wanted_inside(state)
        assert self._rules() == self._wanted_rules(state)
        programs = ["hostports", *(["hostports.relay"] if self.daemon.relayed else [])]
        eventually(lambda: len(processes(self.lab)) <= len(programs), "orphans end")
        assert sorted(processes(self.lab).values()) == programs
        return state

    def facts(self, state: State) -> frozenset[Fact]:
        """The record as the workers know it; each port must be there in both families."""
        ports = [
            Fact(each.network, each.endpoint, each.protocol.value, each.container_port)
            for each in state.bindings
        ]
        assert {ports.count(each) for each in ports} <= {2}
        return frozenset(
            [
                *map(Fact, state.networks),
                *(Fact(each.network.name, each.name) for each in state.endpoints.values()),
                *ports,
            ]
        )

    def _files(self) -> set[str]:
        folder = self.daemon.folder
        return {str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_dir()}

    def _told(self) -> list[str]:
        """What the API says: networks, endpoints, then bindings as they print themselves."""
        client = self.daemon.client
        names = client.networks()["networks"] + client.endpoints()["endpoints"]
        return [
            *(each["name"] for each in names),
            *sorted(map(_printed, client.ports()["bindings"])),
        ]

    def _held(self) -> list[str]:
        with RelayClient(self.daemon.run / "relay.sock") as relay:
            held = relay.held()
        assert not any(each.draining for each in held)
        return sorted(str(each.binding) for each in held)

    def _listening(self) -> list[str]:
        """Every socket in the host's namespace that waits for clients."""
        fields = [line.split() for line in self._run("ss", "-Hltun").splitlines()]
        return sorted(f"{each[4]}/{each[0]}" for each in fields)

    def _links(self) -> list[str]:
        """Every interface of the host but loopback, and the bridge that it is in."""
        with self.lab.namespaces["host"].entered(), IPRoute() as links:
            found = list(links.get_links())
        names = {each["index"]: each.get_attr("IFLA_IFNAME") for each in found}
        return sorted(
            f"{each.get_attr('IFLA_IFNAME')} in {names.get(each.get_attr('IFLA_MASTER'))}"
            for each in found
            if each["index"] != 1
        )

    def _inside(self) -> dict[str, set[str]]:
        """What each container's namespace has besides loopback: interfaces, addresses, routes."""
        return {
            each.name: found
            for name, each in self.lab.namespaces.items()
            if name != "host" and (found := _configured(each))
        }

    def _rules(self) -> list[str]:
        with self.lab.namespaces["host"].entered():
            return _rules()

    def _wanted_rules(self, state: State) -> list[str]:
        """What the record makes of rules where there were none."""
        wanted: list[FirewallItem] = [*state.networks.values(), *state.endpoints.values()]
        wanted += state.bindings
        make = firewalls.iptables if "iptables" in self.daemon.flags else firewalls.nftables
        with namespace() as empty, empty.entered():
            make(Settings(relay=self.daemon.relayed), wanted, take_over=True)
            return _rules()

    def _run(self, *command: str) -> str:
        with self.lab.namespaces["host"].entered():
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def processes(lab: Lab) -> dict[int, str]:
    """What runs in the host's namespace: processes by their ids, Python's by their modules."""
    with lab.namespaces["host"].entered():
        host = Path("/proc/thread-self/ns/net").stat().st_ino
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
            if (each / "ns" / "net").stat().st_ino == host:
                words = (each / "cmdline").read_text().split("\0")
                named = words[words.index("-m") + 1] if "-m" in words else words[0]
                found[int(each.name)] = _SAME.get(named, named)
    found.pop(os.getpid(), None)
    return found


def _printed(binding: dict[str, Any]) -> str:
    """A binding of the API as a `PortBinding` prints itself."""
    host, container = (
        f"{bracketed(ip_address(binding[f'{end}_ip']))}:{binding[f'{end}_port']}"
        for end in ("host", "container")
    )
    return f"{host}:{container}/{binding['proto']}"


def _configured(inside: Namespace) -> set[str]:
    with inside.entered(), IPRoute() as links:
        addresses = links.get_addr(scope=0)
        return {
            *(
                str(each.get_attr("IFLA_IFNAME"))
                for each in links.get_links()
                if each["index"] != 1
            ),
            *(str(each.get_attr("IFA_ADDRESS")) for each in addresses if each["index"] != 1),
            *(f"by {each.get_attr('RTA_GATEWAY')}" for each in links.get_default_routes()),
        }


def _wanted_links(state: State) -> list[str]:
    bridges = [f"{each.bridge} in None" for each in state.networks.values()]
    cables = [f"{cable_name(each)} in {each.network.bridge}" for each in state.endpoints.values()]
    return sorted(bridges + cables)


def _wanted_inside(state: State) -> dict[str, set[str]]:
    return {
        Path(each.namespace).name: {
            "eth0",
            *map(str, each.addresses),
            *(f"by {each.network.gateway(of)}" for of in Family),
        }
        for each in state.endpoints.values()
    }


def _rules() -> list[str]:
    """Chains, sets and maps of nftables and rules of iptables, in whatever order they were made."""
    return table_of_ours() + iptables_of_ours()

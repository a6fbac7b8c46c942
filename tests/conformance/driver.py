"""The engine, run through the steps of a case, and what it does in the recordings' schema."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, Final, Protocol

from hostports import (
    BridgeNetwork,
    Edges,
    Endpoint,
    Engine,
    GatewayMode,
    HostportsError,
    PortBinding,
    PortRange,
    PortSpec,
    PublishRequest,
)
from hostports import Protocol as Transport
from hostports.core.allocator import PortAllocator
from hostports.errors import (
    AddressNotOnHost,
    FirewallFailed,
    HostPortInUse,
    NoPortFree,
    PortAskedTwice,
    PortDriverFailed,
    PortPublished,
    RelayFailed,
    ReleaseFailed,
    UnusableValue,
)
from hostports.interfaces import HostSockets, RelayedBinding
from hostports.model.firewall import FirewallChange
from hostports.model.host import Host, PortDriverInfo
from hostports.model.port import HeldSocket, SocketAddress
from hostports.testing import FakeFirewall, FakeHostFacts, FakePortDriver, FakeRelay
from tests.conformance.reference import WILDCARD, Json
from tests.conformance.reference_allocator import PROTOCOLS, Refused, unmapped

#: The schema's word for each of our errors.
KINDS: Final[dict[type[HostportsError], str]] = {
    AddressNotOnHost: "bind_failed",
    FirewallFailed: "firewall_add_failed",
    HostPortInUse: "bind_failed",
    NoPortFree: "all_ports_allocated",
    PortDriverFailed: "port_driver_add_failed",
    PortAskedTwice: "port_already_allocated",
    PortPublished: "port_already_allocated",
    RelayFailed: "proxy_start_failed",
    ReleaseFailed: "release_failed",
}


class Recorder:
    """The trace of a step, and which of its calls shall fail."""

    def __init__(self) -> None:
        self.restart({})

    def restart(self, faults: Mapping[str, Collection[int]]) -> None:
        self.trace: list[Json] = []
        self._faults = faults
        self._calls: Counter[str] = Counter()

    def fails(self, fault: str) -> bool:
        """Count a call, and say whether it fails."""
        self._calls[fault] += 1
        failing = self._faults.get(fault, ())
        return -1 in failing or self._calls[fault] in failing

    def write(self, op: str, *, failed: bool, **fields: Any) -> None:
        self.trace.append({"op": op, "error": "injected" if failed else None} | fields)


class RecordingFirewall(FakeFirewall):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def apply(self, change: FirewallChange) -> None:
        for op, fault, bindings in (
            ("fw.del_ports", "fw_del_ports", change.closed),
            ("fw.add_ports", "fw_add_ports", change.opened),
        ):
            listed = [seen(each) for each in bindings if isinstance(each, PortBinding)]
            if listed:
                failed = self._recorder.fails(fault)
                self._recorder.write(op, failed=failed, bindings=listed)
                if failed:
                    raise FirewallFailed("injected")


class RecordingRelay(FakeRelay):
    """Keeps no socket, as the stub in the recordings doesn't."""

    def __init__(self, recorder: Recorder, kernel: "Kernel") -> None:
        super().__init__()
        self._recorder, self._kernel = recorder, kernel

    def add(self, bindings: Sequence[RelayedBinding]) -> None:
        for each in bindings:
            if self._recorder.fails("proxy_start"):
                self._start(each, failed=True)
                raise RelayFailed("injected")
        for each in bindings:
            self._start(each, failed=False)
        super().add(bindings)

    def remove(self, bindings: Sequence[PortBinding]) -> None:
        failures = []
        for binding in bindings:
            failed = self._recorder.fails("proxy_stop")
            self._recorder.write("proxy.stop", failed=failed, **seen(binding))
            if failed:
                failures.append(RelayFailed("injected"))
        super().remove(bindings)
        if failures:
            raise ReleaseFailed(failures)

    def _start(self, each: RelayedBinding, *, failed: bool) -> None:
        self._recorder.write(
            "proxy.start",
            failed=failed,
            listen_socket=True,
            socket_listening=self._kernel.listening(each),
            **seen(each.binding),
        )


class RecordingPortDriver(FakePortDriver):
    def __init__(self, info: PortDriverInfo, recorder: Recorder) -> None:
        super().__init__(info)
        self._recorder = recorder
        self._next = count(1)
        self._numbers: dict[SocketAddress, int] = {}

    def add(self, parent: SocketAddress, child: SocketAddress) -> None:
        failed = self._recorder.fails("port_driver_add")
        if not failed:
            super().add(parent, child)
            self._numbers[parent] = next(self._next)
        self._recorder.write(
            "portdriver.add",
            failed=failed,
            proto=f"{parent.protocol.value}{parent.ip.version}",
            parent_ip=str(parent.ip),
            parent_port=parent.port,
            child_ip=str(child.ip),
            child_port=child.port,
            id=None if failed else self._numbers[parent],
        )
        if failed:
            raise PortDriverFailed("injected")

    def remove(self, parent: SocketAddress) -> None:
        failed = self._recorder.fails("port_driver_remove")
        self._recorder.write("portdriver.remove", failed=failed, id=self._numbers[parent])
        super().remove(parent)
        if failed:
            raise PortDriverFailed("injected")


class Kernel(Protocol):
    """The host's sockets of a run: a table, or those of a network namespace."""

    @property
    def sockets(self) -> HostSockets:
        """The engine's edge."""

    def occupy(self, busy: Json) -> Any:
        """Let another process take a port; returns what `vacate` wants."""

    def vacate(self, other: Any) -> None:
        """Close another process's socket."""

    def listening(self, each: RelayedBinding) -> bool:
        """Whether the socket that the relay is given listens."""

    def held(self) -> list[HeldSocket]:
        """The sockets of the engine."""


#: The host of a case, for as long as the case runs. Raises `SkippedCase` if it can't be had.
Hosts = Callable[[Json, Json], AbstractContextManager[Kernel]]


class SkippedCase(Exception):
    """A case needs a kernel feature that isn't there."""


class Driver:
    """The engine of one case. Raises `UnusableValue` where it refuses the port driver."""

    def __init__(self, case: Json, environment: Json, kernel: Kernel) -> None:
        self._kernel = kernel
        self._recorder = Recorder()
        driver = self._port_driver(environment["rootlesskit"].get(case["daemon"]["rootlesskit"]))
        self._relay = RecordingRelay(self._recorder, kernel)
        host = Host(case["host"]["ipv6"], PortRange(*environment["dynamic_port_range"]))
        edges = Edges(
            FakeHostFacts(host),
            kernel.sockets,
            RecordingFirewall(self._recorder),
            self._relay if case["daemon"]["userland_proxy_path"] else None,
            driver,
        )
        self._engine = Engine(edges)
        self._separate = driver is not None and driver.info().forwards
        self._published: dict[str, Sequence[PortBinding]] = {}
        self._others: dict[str, Any] = {}

    def step(self, step: Json) -> Json | None:
        """Take one step; None if it has no expectation."""
        name = step["name"]
        match step["op"]:
            case "occupy":
                self._others[name] = self._kernel.occupy(step["busy"])
                return None
            case "vacate":
                self._kernel.vacate(self._others.pop(name))
                return None
        if step["op"] == "release" and name not in self._published:
            return {"skipped": True}
        self._recorder.restart(step["faults"])
        error: str | None = None
        bindings: Sequence[PortBinding] = ()
        try:
            if step["op"] == "add":
                bindings = self._engine.publish(request(step)).bindings
                self._published[name] = bindings
            else:
                released, self._published[name] = self._published[name], ()
                self._engine.unpublish(released)
        except Refused as refusal:
            error = refusal.kind
        except UnusableValue:
            error = "invalid_port_range"
        except HostportsError as failure:
            error = KINDS[type(failure)]
        return self._expectation(error, bindings)

    def _port_driver(self, kind: Json | None) -> RecordingPortDriver | None:
        if kind is None:
            return None
        child_ip = kind["network_driver_child_ip"]
        info = PortDriverInfo(
            kind["port_driver"] or "",
            frozenset(kind["protos"]),
            kind["disallow_loopback_child_ip"],
            child_ip and unmapped(child_ip),
            kind.get("network_driver", ""),
        )
        return RecordingPortDriver(info, self._recorder)

    def _expectation(self, error: str | None, bindings: Sequence[PortBinding]) -> Json:
        held = self._kernel.held()
        book = self._engine.book
        allocator = book.child if self._separate else book.host
        return {
            "error": error and {"kind": error},
            "bindings": [self._result(each, held) for each in bindings],
            "trace": self._recorder.trace,
            "sockets": [socket(each) for each in held],
            "allocator_state": dumped(allocator),
        }

    def _result(self, binding: PortBinding, held: Sequence[HeldSocket]) -> Json:
        return seen(binding) | {
            "host_ip": str(binding.host_ip),
            "host_port": binding.host_port,
            "child_host_ip": None if binding.routed else str(binding.socket.ip),
            "bound_socket": binding.socket in [each.address for each in held],
            "proxy_running": str(binding) in self._relay.dump(),
            "rootlesskit_unsupported": False,
        }


def request(step: Json) -> PublishRequest:
    """What a step asks for. Raises `Refused` or `UnusableValue` for what our types can't hold."""
    network = BridgeNetwork(
        "network",
        GatewayMode(step["network"]["gw_mode_ipv4"] or "nat"),
        GatewayMode(step["network"]["gw_mode_ipv6"] or "nat"),
    )
    ipv4, ipv6 = address(step["endpoint_ipv4"]), address(step["endpoint_ipv6"])
    return PublishRequest(
        Endpoint(step["name"], network, ipv4, ipv6),
        [spec(each) for each in step["bindings"]],
        unmapped(step["default_host_ip"] or WILDCARD[4]),
        not step["no_proxy_6to4"],
    )


def address(text: str | None) -> Any:
    """The address in CIDR text; of which family shows in where it stands."""
    return text and unmapped(text.partition("/")[0])


def spec(asked: Json) -> PortSpec:
    if asked["proto"] not in PROTOCOLS:
        raise Refused("unknown_protocol")
    first, last = asked["host_port"], asked["host_port_end"] or asked["host_port"]
    return PortSpec(
        asked["container_port"],
        Transport(asked["proto"]),
        PortRange(first, last) if first or last else None,
        asked["host_ip"] and unmapped(asked["host_ip"]),
        asked["container_ip"] and unmapped(asked["container_ip"]),
    )


def seen(binding: PortBinding) -> Json:
    """A binding as the firewall sees it."""
    return {
        "proto": binding.protocol.value,
        "host_ip": str(binding.socket.ip),
        "host_port": binding.socket.port,
        "container_ip": str(binding.container_ip),
        "container_port": binding.container_port,
    }


def dumped(allocator: PortAllocator) -> Json:
    """The ports taken, as the schema writes them."""
    return {
        protocol.value: {str(ip): ports for ip, ports in by_ip.items()}
        for protocol, by_ip in allocator.dump().items()
    }


def socket(held: HeldSocket) -> Json:
    return {
        "proto": held.address.protocol.value,
        "ip": str(held.address.ip),
        "port": held.address.port,
        "listening": held.listening,
        "reuseaddr": held.reuseaddr,
        "v6only": held.v6only,
        "pktinfo": held.pktinfo,
    }

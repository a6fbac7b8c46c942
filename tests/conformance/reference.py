"""A model of moby 28.5's port mapping: what the bridge driver does with a case, step by step.

It is written from the description of the reference, independent of the engine, and so plain that it
can be read beside that description. Without fixes it must give what was recorded, so that it may
be trusted; each fix is one deliberate difference of ours (see differences.toml), and changes what
the model does in a place or two. It answers in the schema of the recordings.
"""

import errno
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hostports.model.port import Protocol
from hostports.testing import FakeKernel, FakeSocket
from tests.conformance.reference_allocator import PROTOCOLS, Allocator, Refused, unmapped

Json = dict[str, Any]
ATTEMPTS = 10
WILDCARD = {4: "0.0.0.0", 6: "::"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def version(ip: str) -> int:
    return unmapped(ip).version


@dataclass(eq=False)
class Binding:
    """One binding on its way: asked for, given a port, bound, announced, proxied."""

    proto: str
    container_ip: str
    container_port: int
    host_ip: str
    child_ip: str
    start: int
    end: int
    nat: bool
    port: int = 0
    child_port: int = 0
    socket: FakeSocket | None = None
    proxied: bool = False
    refused: bool = False
    forwarding: int | None = None

    @property
    def exact(self) -> bool:
        return self.start == self.end != 0

    def as_firewall_sees_it(self) -> Json:
        return {
            "proto": self.proto,
            "host_ip": self.child_ip if self.nat else self.host_ip,
            "host_port": self.child_port,
            "container_ip": self.container_ip,
            "container_port": self.container_port,
        }

    def as_result(self) -> Json:
        return self.as_firewall_sees_it() | {
            "host_ip": self.host_ip,
            "host_port": self.port,
            "child_host_ip": self.child_ip if self.nat else None,
            "bound_socket": self.socket is not None,
            "proxy_running": self.proxied,
            "rootlesskit_unsupported": self.refused,
        }


class Reference:
    """The bridge driver of one case, with everything around it."""

    def __init__(self, case: Json, environment: Json, fixes: Collection[str] = ()) -> None:
        self.fixes = frozenset(fixes)
        self.proxy = bool(case["daemon"]["userland_proxy_path"])
        self.ipv6 = case["host"]["ipv6"]
        self.driver: Json = environment["rootlesskit"].get(case["daemon"]["rootlesskit"], {})
        self.forwards = self.driver.get("port_driver") not in (None, "none", "implicit")
        addresses = environment["host_addresses_ipv4"]
        addresses = addresses + (environment["host_addresses_ipv6"] if self.ipv6 else [])
        self.kernel = FakeKernel(unmapped(text.partition("/")[0]) for text in addresses)
        self.ports = Allocator(environment["dynamic_port_range"])
        self.child_ports = Allocator(environment["dynamic_port_range"])
        self.forwardings = 0
        self.held: dict[str, list[Binding]] = {}
        self.others: dict[str, FakeSocket] = {}
        self.trace: list[Json] = []
        self.calls: Counter[str] = Counter()
        self.faults: Mapping[str, Sequence[int]] = {}

    def step(self, step: Json) -> Json | None:
        """Take one step; None if it has no expectation."""
        match step["op"]:
            case "occupy":
                self.others[step["name"]] = occupied(self.kernel, step["busy"])
                return None
            case "vacate":
                self.kernel.close(self.others.pop(step["name"]))
                return None
        self.trace, self.calls, self.faults = [], Counter(), step["faults"]
        name, error, bindings = step["name"], None, []
        if step["op"] == "release" and name not in self.held:
            return {"skipped": True}
        try:
            if step["op"] == "add":
                self.held[name] = bindings = self.add(step)
            else:
                released, self.held[name] = self.held[name], []
                self.release(released)
        except Refused as refusal:
            error = refusal.kind
        return self.expectation(error, bindings)

    def expectation(self, error: str | None, bindings: Sequence[Binding]) -> Json:
        return {
            "error": error and {"kind": error},
            "bindings": [each.as_result() for each in bindings],
            "trace": self.trace,
            "sockets": [
                {
                    "proto": each.socket.protocol.value,
                    "ip": str(each.socket.ip),
                    "port": each.socket.port,
                    "listening": each.socket.listening,
                    "reuseaddr": each.socket.reuseaddr,
                    "v6only": True if each.socket.ip.version == 6 else None,
                    "pktinfo": each.proto == "udp",
                }
                for held in self.held.values()
                for each in held
                if each.socket
            ],
            "allocator_state": self.allocator_of_sockets().state(),
        }

    # Publishing

    def add(self, step: Json) -> list[Binding]:
        if "unusable-first" in self.fixes:
            refuse_unusable(step["bindings"])
        done: list[Binding] = []
        try:
            for group in self.groups(step):
                done += self.bind_group(group)
            if done and "one-transaction" in self.fixes:
                self.open(done)
            self.start_proxies(done)
        except Refused:
            self.undo(done)
            raise
        return done

    def bind_group(self, group: list[Binding]) -> list[Binding]:
        """Up to ten attempts, for any failure, but one for an exact port."""
        tried: set[int] = set()
        attempt = 1
        while True:
            try:
                return self.attempt(group, tried)
            except Refused as refusal:
                in_use = refusal.kind == "bind_in_use"
                if in_use and "whole-range" in self.fixes:
                    final = group[0].exact
                else:
                    helpless = not in_use and "retry-what-helps" in self.fixes
                    final = group[0].exact or attempt == ATTEMPTS or helpless
                if final:
                    raise Refused(refusal.kind.replace("bind_in_use", "bind_failed")) from None
                attempt += 1

    def attempt(self, group: list[Binding], tried: set[int]) -> list[Binding]:
        try:
            self.allocate(group, tried)
            for binding in group:
                self.bind(binding)
            for binding in group:
                self.announce(binding)
            if "one-transaction" not in self.fixes:
                self.open(group)
        except Refused:
            self.undo(group)
            raise
        return group

    def open(self, bindings: Sequence[Binding]) -> None:
        self.call("fw.add_ports", "fw_add_ports", "firewall_add_failed", bindings)
        for binding in bindings:
            listens = binding.proto == "tcp" or (
                binding.proto == "sctp" and "sctp-like-tcp" in self.fixes
            )
            if binding.socket and listens and not binding.refused:
                with_errno(self.kernel.listen, binding.socket, kind="listen_failed")

    def allocate(self, group: Sequence[Binding], tried: set[int]) -> None:
        nat = [binding for binding in group if binding.nat]
        if not nat:
            return
        first = group[0]
        separate = self.forwards and "child-ports" in self.fixes
        ips = [binding.host_ip if separate else binding.child_ip for binding in nat]
        passed_over = tried if "whole-range" in self.fixes else ()
        port = self.ports.request(ips, first.proto, first.start, first.end, passed_over)
        tried.add(port)
        for binding in nat:
            binding.port = binding.child_port = port
        if separate:
            for binding in nat:
                binding.child_port = self.child_port(binding)

    def child_port(self, binding: Binding) -> int:
        """The fix "child-ports": the same number on the child address, or else a dynamic one."""
        ask = (self.child_ports.request, [binding.child_ip], binding.proto)
        try:
            return ask[0](*ask[1:], binding.port, binding.port)
        except Refused:
            return ask[0](*ask[1:], 0, 0)

    def bind(self, binding: Binding) -> None:
        if not binding.nat:
            return
        if binding.proto == "sctp" and "sctp-like-tcp" not in self.fixes:
            self.start_proxy(binding)
            return
        binding.socket = with_errno(
            self.kernel.open,
            Protocol(binding.proto),
            unmapped(binding.child_ip),
            binding.child_port,
            reuseaddr=binding.proto != "udp" or "udp-owns-its-port" not in self.fixes,
            kind="bind_failed",
        )

    def announce(self, binding: Binding) -> None:
        if not self.forwards or not binding.nat:
            return
        if self.cannot_forward(binding):
            binding.refused = True
            return
        self.forwardings += 1
        of_network_driver = self.driver["disallow_loopback_child_ip"]
        mapped = of_network_driver and "child-address-unmapped" not in self.fixes
        entry = {
            "op": "portdriver.add",
            "proto": f"{binding.proto}{version(binding.host_ip)}",
            "parent_ip": binding.host_ip,
            "parent_port": binding.port,
            "child_ip": f"::ffff:{binding.child_ip}" if mapped else binding.child_ip,
            "child_port": binding.child_port,
            "id": self.forwardings,
        }
        failed = self.recorded(entry, "port_driver_add")
        if failed:
            self.forwardings -= 1
            raise Refused("port_driver_add_failed")
        binding.forwarding = self.forwardings

    def start_proxies(self, bindings: Sequence[Binding]) -> None:
        waiting = [
            each for each in bindings if each.socket and not each.refused and not each.proxied
        ]
        if not self.proxy:
            return
        before = len(self.trace)
        for binding in waiting:
            try:
                self.start_proxy(binding)
            except Refused:
                if "one-relay-call" in self.fixes:
                    del self.trace[before:-1]
                    for each in waiting:
                        each.proxied = False
                raise
        for binding in waiting:
            self.close(binding)

    def start_proxy(self, binding: Binding) -> None:
        entry = binding.as_firewall_sees_it() | {
            "op": "proxy.start",
            "listen_socket": binding.socket is not None,
            "socket_listening": binding.socket and binding.socket.listening,
        }
        if self.recorded(entry, "proxy_start"):
            raise Refused("proxy_start_failed")
        binding.proxied = True

    # Releasing

    def release(self, bindings: Sequence[Binding]) -> None:
        """Every step is taken; what goes wrong is told at the end."""
        failed = False
        for binding in bindings:
            self.close(binding)
            if binding.forwarding:
                entry = {"op": "portdriver.remove", "id": binding.forwarding}
                failed |= self.recorded(entry, "port_driver_remove")
            if binding.proxied:
                entry = binding.as_firewall_sees_it() | {"op": "proxy.stop"}
                failed |= self.recorded(entry, "proxy_stop")
            binding.forwarding, binding.proxied = None, False
        try:
            self.call("fw.del_ports", "fw_del_ports", "release_failed", bindings)
        except Refused:
            failed = True
        for binding in bindings:
            self.give_back(binding)
        if failed:
            raise Refused("release_failed")

    def undo(self, bindings: Sequence[Binding]) -> None:
        """Release without a word, whatever was done of it."""
        with suppress(Refused):
            self.release(bindings)
        for binding in bindings:
            binding.port = binding.child_port = 0
            binding.refused = False

    def close(self, binding: Binding) -> None:
        if binding.socket:
            self.kernel.close(binding.socket)
            binding.socket = None

    def give_back(self, binding: Binding) -> None:
        if not binding.port:
            return
        if self.allocator_of_sockets() is self.child_ports:
            self.ports.release(binding.host_ip, binding.proto, binding.port)
        self.allocator_of_sockets().release(binding.child_ip, binding.proto, binding.child_port)

    def allocator_of_sockets(self) -> Allocator:
        separate = self.forwards and "child-ports" in self.fixes
        return self.child_ports if separate else self.ports

    # Outside calls

    def call(self, op: str, fault: str, kind: str, bindings: Sequence[Binding]) -> None:
        """A call to the firewall for several bindings."""
        listed = [each.as_firewall_sees_it() for each in bindings]
        if not bindings and "no-empty-calls" in self.fixes:
            return
        if self.recorded({"op": op, "bindings": listed}, fault):
            raise Refused(kind)

    def recorded(self, entry: Json, fault: str) -> bool:
        """Put a call into the trace, and say whether it fails."""
        self.calls[fault] += 1
        failing = self.faults.get(fault, ())
        failed = -1 in failing or self.calls[fault] in failing
        self.trace.append(entry | {"error": "injected" if failed else None})
        return failed

    # Expanding

    def groups(self, step: Json) -> Iterator[list[Binding]]:
        asked = sorted((with_end(each) for each in step["bindings"]), key=order)
        for _, sharing in groupby(asked, key=group_key):
            group = [binding for each in sharing for binding in self.expanded(step, each)]
            if "unforwardable-left-out" in self.fixes and self.forwards:
                group = [each for each in group if not (each.nat and self.cannot_forward(each))]
            if "overlap" in self.fixes:
                group = without_overlaps(group)
            if group:
                yield group

    def expanded(self, step: Json, asked: Json) -> Iterator[Binding]:
        default = str(unmapped(step["default_host_ip"] or WILDCARD[4]))
        given = asked["host_ip"] and str(unmapped(asked["host_ip"]))
        endpoint = {4: step["endpoint_ipv4"], 6: step["endpoint_ipv6"]}
        if not endpoint[6] and self.proxy and not step["no_proxy_6to4"]:
            endpoint[6] = endpoint[4]
        for of in (4, 6):
            host_ip = given or default
            if not given and default == WILDCARD[4] and of == 6 and self.ipv6:
                host_ip = WILDCARD[6]
            if not endpoint[of] or version(host_ip) != of:
                continue
            nat = step["network"][f"gw_mode_ipv{of}"] != "routed"
            host_ip = host_ip if nat else WILDCARD[of]
            yield Binding(
                asked["proto"],
                str(unmapped(endpoint[of].partition("/")[0])),
                asked["container_port"],
                host_ip,
                self.child_ip(host_ip),
                asked["host_port"],
                asked["host_port_end"],
                nat,
            )

    def child_ip(self, host_ip: str) -> str:
        if not self.forwards:
            return host_ip
        if self.driver["disallow_loopback_child_ip"]:
            return str(self.driver["network_driver_child_ip"])
        return LOOPBACK[version(host_ip)]

    def cannot_forward(self, binding: Binding) -> bool:
        return f"{binding.proto}{version(binding.host_ip)}" not in self.driver["protos"]


def occupied(kernel: FakeKernel, busy: Json) -> FakeSocket:
    """Another process's socket."""
    other = kernel.open(
        Protocol(busy["proto"]),
        unmapped(busy["ip"]),
        busy["port"],
        reuseaddr=busy["reuseaddr"],
        v6only=busy["v6only"],
    )
    if busy["listen"]:
        kernel.listen(other)
    return other


def with_end(asked: Json) -> Json:
    return asked | {"host_port_end": asked["host_port_end"] or asked["host_port"]}


def order(asked: Json) -> tuple[object, ...]:
    exact = asked["host_port"] == asked["host_port_end"] != 0
    return (not exact, *ports_key(asked), ip_key(asked["host_ip"]), ip_key(asked["container_ip"]))


def group_key(asked: Json) -> tuple[object, ...]:
    return (*ports_key(asked), ip_key(asked["container_ip"]))


def ports_key(asked: Json) -> tuple[object, ...]:
    numbers = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
    number = numbers.get(asked["proto"]) or int(asked["proto"])
    return (asked["container_port"], number, asked["host_port"], asked["host_port_end"])


def ip_key(text: str | None) -> tuple[int, ...]:
    return () if text is None else (version(text), int(unmapped(text)))


def refuse_unusable(asked: Sequence[Json]) -> None:
    for each in asked:
        if each["proto"] not in PROTOCOLS:
            raise Refused("unknown_protocol")
        start, end = each["host_port"], each["host_port_end"] or each["host_port"]
        if (start or end) and not 0 < start <= end <= 65535:
            raise Refused("invalid_port_range")


def without_overlaps(group: Sequence[Binding]) -> list[Binding]:
    wildcards = {each.host_ip for each in group} & {*WILDCARD.values()}
    kept: list[Binding] = []
    for each in group:
        covered = WILDCARD[version(each.host_ip)] in wildcards - {each.host_ip}
        if not covered and each.host_ip not in {other.host_ip for other in kept}:
            kept.append(each)
    return kept


def with_errno(act: Any, *args: Any, kind: str, **kwargs: Any) -> Any:
    """Let the kernel act; in use, at bind, is told apart from what no other port helps."""
    try:
        return act(*args, **kwargs)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE and kind == "bind_failed"
        raise Refused("bind_in_use" if in_use else kind) from None

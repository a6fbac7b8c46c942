"""The sockets that a run uses: a table by default, or real ones in network namespaces."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hostports.interfaces import RelayedBinding
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import HeldSocket, Protocol
from hostports.testing import FakeHostSockets, FakeKernel, FakeSocket
from tests.conformance.driver import Hosts, Kernel, SkippedCase
from tests.conformance.reference import Json, occupied
from tests.conformance.reference_allocator import unmapped
from tests.netns.namespaces import Namespace, namespace


class TableKernel:
    """Linux's rules as a table, with exactly the addresses of the recordings' host."""

    def __init__(self, case: Json, environment: Json) -> None:
        addresses = host_addresses(environment, ipv6=case["host"]["ipv6"])
        self._kernel = FakeKernel(unmapped(each.partition("/")[0]) for each in addresses)
        self.sockets = FakeHostSockets(self._kernel)

    def occupy(self, busy: Json) -> FakeSocket:
        return occupied(self._kernel, busy)

    def vacate(self, other: Any) -> None:
        self._kernel.close(other)

    def listening(self, each: RelayedBinding) -> bool:
        return next(
            sock.listening for sock in self._kernel.sockets() if sock.fileno() == each.fileno
        )

    def held(self) -> list[HeldSocket]:
        return self.sockets.dump()


class NamespaceKernel:
    """Real sockets of the network namespace that the thread is in."""

    def __init__(self) -> None:
        self.sockets = LinuxHostSockets()
        self._others: list[socket.socket] = []

    def occupy(self, busy: Json) -> socket.socket:
        ip = unmapped(busy["ip"])
        of = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        kind = socket.SOCK_STREAM if busy["proto"] == "tcp" else socket.SOCK_DGRAM
        other = socket.socket(of, kind)
        self._others.append(other)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, busy["reuseaddr"])
        if ip.version == 6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, busy["v6only"])
        other.bind((str(ip), busy["port"]))
        if busy["listen"]:
            other.listen()
        return other

    def vacate(self, other: Any) -> None:
        other.close()

    def listening(self, each: RelayedBinding) -> bool:
        with socket.socket(fileno=os.dup(each.fileno)) as passed:
            return bool(passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def held(self) -> list[HeldSocket]:
        return self.sockets.dump()

    def close(self) -> None:
        for other in self._others:
            other.close()
        for held in self.held():
            self.sockets.release(held.address)


@contextmanager
def tables(case: Json, environment: Json) -> Iterator[Kernel]:
    """A table of sockets for each case."""
    yield TableKernel(case, environment)


@contextmanager
def namespaces(environment: Json) -> Iterator[Hosts]:
    """Two hosts with exactly the recordings' addresses, one of them without IPv6."""
    with (
        namespace(host_addresses(environment, ipv6=True)) as dual,
        namespace(host_addresses(environment, ipv6=False), ipv6=False) as ipv4_only,
    ):
        by_ipv6: Mapping[bool, Namespace] = {True: dual, False: ipv4_only}
        has_sctp = Protocol.SCTP in LinuxHostFacts().read().protocols

        @contextmanager
        def host(case: Json, _: Json) -> Iterator[Kernel]:
            if uses_sctp(case) and not has_sctp:
                raise SkippedCase("this kernel has no SCTP sockets")
            with by_ipv6[case["host"]["ipv6"]].entered():
                kernel = NamespaceKernel()
                try:
                    yield kernel
                finally:
                    kernel.close()

        yield host


def host_addresses(environment: Json, *, ipv6: bool) -> list[str]:
    addresses: list[str] = environment["host_addresses_ipv4"]
    return addresses + (environment["host_addresses_ipv6"] if ipv6 else [])


def uses_sctp(case: Json) -> bool:
    return any(
        binding["proto"] == "sctp" for step in case["steps"] for binding in step.get("bindings", ())
    )

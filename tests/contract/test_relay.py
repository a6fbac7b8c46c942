"""One suite for the fake relay and the process: what `Relay` promises, both keep."""

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

import pytest

from hostports import PortBinding, Protocol, ProxyProtocol, PublishMode
from hostports.errors import HostPortInUse, RelayFailed
from hostports.interfaces import HostSockets, Relay, RelayedBinding
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import SocketAddress
from hostports.relay.client import RelayClient
from hostports.relay.launch import start_relay
from hostports.testing import FakeHostSockets, FakeKernel, FakeRelay
from tests.netns.namespaces import namespace

HOST, CONTAINER, HOST_IPV6, CONTAINER_IPV6 = "192.0.2.10", "192.0.2.20", "fd00::10", "fd00::20"
PREFIXES = {HOST: 24, CONTAINER: 24, HOST_IPV6: 64, CONTAINER_IPV6: 64}
PATIENCE_S = 20
#: Descriptors that a test and a relay need besides those of bindings.
OTHER_DESCRIPTORS = 200


def binding(
    port: int, protocol: Protocol = Protocol.TCP, host: str = HOST, container: str = CONTAINER
) -> PortBinding:
    host_ip, container_ip = ip_address(host), ip_address(container)
    return PortBinding("lab", "web", protocol, host_ip, port, container_ip, 80)


WEB, SECURE = binding(8080), binding(8443)
DNS = binding(53, Protocol.UDP)


@dataclass
class Case:
    """A relay, the sockets that it is given, and a way to keep a TCP binding in use."""

    relay: Relay
    sockets: HostSockets
    in_use: Callable[[PortBinding], AbstractContextManager[None]]

    def add(self, *bindings: PortBinding) -> None:
        """Hand bindings over as the engine does, and keep no socket whatever comes of it."""
        given = []
        try:
            for each in bindings:
                self.sockets.reserve(each.socket)
                self.sockets.listen(each.socket, relayed=True)
                given.append(RelayedBinding(each, self.sockets.fileno(each.socket)))
            self.relay.add(given)
        finally:
            for each in bindings:
                self.sockets.release(each.socket)

    def held(self) -> list[PortBinding]:
        return [each.binding for each in self.relay.held()]

    def free(self, one: PortBinding) -> bool:
        """Whether somebody else could serve the binding's port now."""
        try:
            self.sockets.reserve(one.socket)
            self.sockets.listen(one.socket, relayed=True)
        except HostPortInUse:
            return False
        finally:
            self.sockets.release(one.socket)
        return True


@contextmanager
def fake(path: Path) -> Iterator[Case]:  # noqa: ARG001 - there is no process to be reached
    @contextmanager
    def in_use(_: PortBinding) -> Iterator[None]:
        yield

    kernel = FakeKernel(map(ip_address, PREFIXES))
    yield Case(FakeRelay(), FakeHostSockets(kernel), in_use)


@contextmanager
def process(path: Path) -> Iterator[Case]:
    addresses = [f"{ip}/{length}" for ip, length in PREFIXES.items()]
    with namespace(addresses) as host, host.entered():
        started = start_relay(path)
        try:
            with RelayClient(path) as relay:
                yield Case(relay, LinuxHostSockets(), open_connection)
                relay.stop()
            assert started.wait(PATIENCE_S) == 0
        finally:
            started.kill()
            started.wait()


@contextmanager
def open_connection(one: PortBinding) -> Iterator[None]:
    container = str(one.container_ip), one.container_port
    with (
        socket.create_server(container) as server,
        socket.create_connection((str(one.host_ip), one.host_port), PATIENCE_S),
    ):
        server.settimeout(PATIENCE_S)
        accepted, _ = server.accept()
        with accepted:
            yield


@pytest.fixture(params=[fake, process], ids=["fake", "process"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Callable[[Path], AbstractContextManager[Case]] = request.param
    with made(tmp_path / "relay.sock") as case:
        yield case


def test_a_new_relay_holds_nothing(case: Case) -> None:
    assert case.relay.held() == []


@pytest.mark.parametrize(
    "given",
    [
        WEB,
        DNS,
        binding(8080, Protocol.TCP, HOST_IPV6, CONTAINER_IPV6),
        binding(53, Protocol.UDP, HOST_IPV6, CONTAINER),
        binding(8080, host="0.0.0.0"),
        replace(WEB, child=SocketAddress(Protocol.TCP, ip_address(HOST), 9000)),
        replace(WEB, mode=PublishMode.RELAY, proxy_protocol=ProxyProtocol.V2),
        replace(WEB, allow_from=(IPv4Network("203.0.113.0/24"), IPv6Network("fd00::/8"))),
        replace(WEB, network="a b", endpoint="Ünïcode\n'\""),
    ],
    ids=str,
)
def test_what_is_held_is_what_was_given(case: Case, given: PortBinding) -> None:
    case.add(given)
    (held,) = case.relay.held()
    assert held.binding == given
    assert not held.draining
    assert (held.counters.open, held.counters.opened) == (0, 0)


def test_adding_nothing_is_nothing(case: Case) -> None:
    case.add()
    assert case.held() == []


def test_bindings_that_differ_only_in_protocol_or_address_are_held_side_by_side(
    case: Case,
) -> None:
    all_of_them = {
        binding(53, protocol, host)
        for protocol in (Protocol.TCP, Protocol.UDP)
        for host in (HOST, HOST_IPV6)
    }
    case.add(*all_of_them)
    assert set(case.held()) == all_of_them


def given_again(case: Case, new: PortBinding, held: PortBinding) -> list[RelayedBinding]:
    """A new binding, and one that the relay has already, which another socket can stand for."""
    case.sockets.reserve(new.socket)
    case.sockets.listen(new.socket, relayed=True)
    descriptor = case.sockets.fileno(new.socket)
    return [RelayedBinding(new, descriptor), RelayedBinding(held, descriptor)]


def test_of_a_call_with_a_binding_that_is_held_already_nothing_is_served(case: Case) -> None:
    case.add(WEB)
    with pytest.raises(RelayFailed):
        case.relay.add(given_again(case, SECURE, WEB))
    case.sockets.release(SECURE.socket)
    assert case.held() == [WEB]
    assert case.free(SECURE)


def test_of_a_call_with_the_same_binding_twice_nothing_is_served(case: Case) -> None:
    with pytest.raises(RelayFailed):
        case.relay.add(given_again(case, WEB, WEB))
    case.sockets.release(WEB.socket)
    assert case.held() == []
    assert case.free(WEB)


@pytest.mark.parametrize(
    "container",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "224.0.0.1", "::1", "::", "ff02::1"],
)
def test_what_leads_to_no_container_is_refused_with_its_whole_call(
    case: Case, container: str
) -> None:
    """A client from anywhere would become a local one (CVE-2021-20199)."""
    with pytest.raises(RelayFailed):
        case.add(WEB, binding(8443, container=container))
    assert case.held() == []
    assert case.free(WEB)


def test_a_routed_binding_has_nothing_to_serve(case: Case) -> None:
    case.sockets.reserve(WEB.socket)
    routed = RelayedBinding(replace(WEB, host_port=0), case.sockets.fileno(WEB.socket))
    with pytest.raises(RelayFailed):
        case.relay.add([routed])
    case.sockets.release(WEB.socket)
    assert case.held() == []


def test_after_a_refused_call_the_relay_takes_the_next_one(case: Case) -> None:
    with pytest.raises(RelayFailed):
        case.add(WEB, binding(8443, container="127.0.0.1"))
    case.add(WEB, SECURE)
    assert set(case.held()) == {WEB, SECURE}


def test_a_removed_binding_leaves_the_others_and_its_port(case: Case) -> None:
    case.add(WEB, SECURE, DNS)
    case.relay.remove([WEB, DNS])
    assert case.held() == [SECURE]
    assert case.free(WEB)
    assert case.free(DNS)


def test_removing_what_is_not_held_has_no_effect(case: Case) -> None:
    case.add(WEB)
    case.relay.remove([SECURE, replace(WEB, allow_from=(IPv4Network("203.0.113.0/24"),))])
    assert case.held() == [WEB]
    case.relay.remove([WEB])
    case.relay.remove([WEB])
    assert case.held() == []


def test_what_was_removed_can_be_added_again(case: Case) -> None:
    for one in (WEB, DNS):
        case.add(one)
        case.relay.remove([one])
        case.add(one)
    assert set(case.held()) == {WEB, DNS}


def test_a_binding_that_is_in_use_can_be_removed_and_added_again(case: Case) -> None:
    case.add(WEB)
    with case.in_use(WEB):
        case.relay.remove([WEB])
        assert case.held() == []
        case.add(WEB)
    assert case.held() == [WEB]


def test_what_drains_is_marked_and_takes_no_new_connection(case: Case) -> None:
    case.add(WEB, SECURE)
    with case.in_use(WEB):
        case.relay.drain([WEB], seconds=3600)
        assert {each.binding: each.draining for each in case.relay.held()} == {
            WEB: True,
            SECURE: False,
        }
        assert case.free(WEB)


def test_what_drains_can_be_removed_before_its_time(case: Case) -> None:
    case.add(WEB)
    with case.in_use(WEB):
        case.relay.drain([WEB], seconds=3600)
        case.relay.remove([WEB])
        assert case.held() == []
    case.add(WEB)


def test_what_drains_can_be_added_again_beside_what_is_left_of_it(case: Case) -> None:
    case.add(WEB)
    with case.in_use(WEB):
        case.relay.drain([WEB], seconds=3600)
        case.add(WEB)
        held = [(each.binding, each.draining) for each in case.relay.held()]
        assert held == [(WEB, False), (WEB, True)]
        case.relay.remove([WEB])
        assert case.held() == []
        assert case.free(WEB)


def test_draining_what_is_not_held_has_no_effect(case: Case) -> None:
    case.add(WEB)
    case.relay.drain([SECURE], seconds=3600)
    assert [(each.binding, each.draining) for each in case.relay.held()] == [(WEB, False)]


def test_ten_thousand_bindings_are_one_call(case: Case) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, limit - OTHER_DESCRIPTORS)
    many = [binding(port) for port in range(10_000, 10_000 + count)]
    case.add(*many)
    assert set(case.held()) == set(many)
    case.relay.remove(many)
    assert case.held() == []
    assert case.free(many[0])
    assert case.free(many[-1])

"""One suite for the fake port driver and for RootlessKit's, which run in a network namespace."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from hostports.errors import PortDriverConflict
from hostports.interfaces import PortDriver
from hostports.model.host import PortDriverInfo
from hostports.model.port import Protocol, SocketAddress
from hostports.rootless.kit import RootlessKit
from hostports.testing import FakePortDriver
from tests.netns.namespaces import namespace
from tests.rootless.kit import rootlesskit

#: Of the parent namespace.
HOST, SECOND = "192.0.2.10", "192.0.2.11"
CHILDREN = {"builtin": "127.0.0.1", "slirp4netns": "10.0.2.100"}


def parent(port: int, protocol: Protocol = Protocol.TCP, ip: str = HOST) -> SocketAddress:
    return SocketAddress(protocol, ip_address(ip), port)


WEB, DNS = parent(8080), parent(8053, Protocol.UDP)


@dataclass
class Case:
    """A driver, the daemon after this one, and a way to let somebody else have a port."""

    driver: PortDriver
    reopened: Callable[[], PortDriver]
    occupied: Callable[[SocketAddress], AbstractContextManager[None]]

    def child(self, port: int, protocol: Protocol = Protocol.TCP) -> SocketAddress:
        """An address that the driver can forward to."""
        return SocketAddress(protocol, ip_address(CHILDREN[self.driver.info().name]), port)


@contextmanager
def fake(folder: Path) -> Iterator[Case]:  # noqa: ARG001 - there is nothing to be kept
    info = PortDriverInfo("builtin", frozenset({"tcp4", "tcp6", "udp4", "udp6"}))
    driver = FakePortDriver(info)

    @contextmanager
    def occupied(address: SocketAddress) -> Iterator[None]:
        driver.busy.add(address)
        yield
        driver.busy.remove(address)

    yield Case(driver, lambda: driver, occupied)


@contextmanager
def real(folder: Path, *, name: str) -> Iterator[Case]:
    with (
        namespace([f"{HOST}/24", f"{SECOND}/24"]) as outside,
        rootlesskit(outside, folder / "home", f"--port-driver={name}") as kit,
    ):

        @contextmanager
        def occupied(address: SocketAddress) -> Iterator[None]:
            kind = socket.SOCK_STREAM if address.protocol is Protocol.TCP else socket.SOCK_DGRAM
            with outside.entered():
                other = socket.socket(socket.AF_INET, kind)
            with other:
                other.bind((str(address.ip), address.port))
                if kind is socket.SOCK_STREAM:
                    other.listen()
                yield

        def opened() -> PortDriver:
            return RootlessKit(kit.api, folder / "forwardings")

        yield Case(opened(), opened, occupied)


DRIVERS = {"fake": fake, **{name: partial(real, name=name) for name in CHILDREN}}


@pytest.fixture(params=DRIVERS.values(), ids=list(DRIVERS))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Callable[[Path], AbstractContextManager[Case]] = request.param
    with made(tmp_path) as case:
        yield case


def test_what_is_forwarded_is_what_was_added_and_not_removed(case: Case) -> None:
    driver = case.driver
    assert driver.forwardings() == {}
    driver.add(WEB, case.child(8080))
    driver.add(DNS, case.child(53, Protocol.UDP))
    driver.add(parent(8081), case.child(9000))
    assert driver.forwardings() == {
        WEB: case.child(8080),
        DNS: case.child(53, Protocol.UDP),
        parent(8081): case.child(9000),
    }
    driver.remove(WEB)
    driver.remove(DNS)
    assert driver.forwardings() == {parent(8081): case.child(9000)}
    driver.remove(parent(8081))
    assert driver.forwardings() == {}


def test_one_port_of_two_addresses_is_two_forwardings(case: Case) -> None:
    case.driver.add(WEB, case.child(8080))
    case.driver.add(parent(8080, ip=SECOND), case.child(8081))
    assert len(case.driver.forwardings()) == 2
    case.driver.remove(WEB)
    assert case.driver.forwardings() == {parent(8080, ip=SECOND): case.child(8081)}


@pytest.mark.parametrize("taken", [WEB, DNS], ids=str)
def test_a_port_that_somebody_else_has_is_a_conflict(case: Case, taken: SocketAddress) -> None:
    child = case.child(8080, taken.protocol)
    with case.occupied(taken), pytest.raises(PortDriverConflict, match=str(taken)):
        case.driver.add(taken, child)
    assert case.driver.forwardings() == {}
    case.driver.add(taken, child)
    assert case.driver.forwardings() == {taken: child}


def test_a_port_that_is_forwarded_already_is_a_conflict_and_stays_so(case: Case) -> None:
    case.driver.add(WEB, case.child(8080))
    with pytest.raises(PortDriverConflict, match=str(WEB)):
        case.driver.add(WEB, case.child(8081))
    assert case.driver.forwardings() == {WEB: case.child(8080)}


def test_removing_what_is_not_forwarded_has_no_effect(case: Case) -> None:
    case.driver.add(WEB, case.child(8080))
    case.driver.remove(DNS)
    case.driver.remove(parent(8081))
    assert case.driver.forwardings() == {WEB: case.child(8080)}
    case.driver.remove(WEB)
    case.driver.remove(WEB)
    case.driver.add(WEB, case.child(8081))
    assert case.driver.forwardings() == {WEB: case.child(8081)}


def test_what_a_killed_daemon_has_added_is_there_for_the_next_one(case: Case) -> None:
    case.driver.add(WEB, case.child(8080))
    case.driver.add(DNS, case.child(53, Protocol.UDP))
    after = case.reopened()
    assert after.info() == case.driver.info()
    assert after.forwardings() == {WEB: case.child(8080), DNS: case.child(53, Protocol.UDP)}
    after.remove(WEB)
    after = case.reopened()
    assert after.forwardings() == {DNS: case.child(53, Protocol.UDP)}
    after.add(WEB, case.child(8081))
    assert case.reopened().forwardings()[WEB] == case.child(8081)

"""One suite for the fake and the real host sockets: by what is true of one, the other is judged."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address

import pytest

from hostports.errors import AddressNotOnHost, AddressOfLink, HostPortInUse
from hostports.interfaces import HostSockets
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import HeldSocket, Protocol, SocketAddress
from hostports.testing import FakeHostSockets, FakeKernel
from tests.netns.namespaces import namespace

ADDRESSES = ["127.0.0.1/8", "192.0.2.10/24", "192.0.2.11/24", "::1/128", "fd00:10::2/64"]

#: Two owners of sockets on one host: us and somebody else.
Owners = tuple["Owner", "Owner"]


class Owner:
    """Somebody's sockets, by their text: ``tcp 0.0.0.0:80``."""

    def __init__(self, sockets: HostSockets, dump: Callable[[], list[HeldSocket]]) -> None:
        self._sockets = sockets
        self._dump = dump

    def reserve(self, *texts: str) -> None:
        for text in texts:
            self._sockets.reserve(address(text))

    def listen(self, text: str, *, relayed: bool = True) -> None:
        self._sockets.listen(address(text), relayed=relayed)

    def release(self, text: str) -> None:
        self._sockets.release(address(text))

    def fileno(self, text: str) -> int:
        return self._sockets.fileno(address(text))

    def held(self) -> dict[str, HeldSocket]:
        return {str(each.address): each for each in self._dump()}

    def close(self) -> None:
        for each in self._dump():
            self._sockets.release(each.address)


def address(text: str) -> SocketAddress:
    protocol, _, rest = text.partition(" ")
    ip, _, port = rest.rpartition(":")
    return SocketAddress(Protocol(protocol), ip_address(ip.strip("[]")), int(port))


@contextmanager
def table() -> Iterator[Owners]:
    kernel = FakeKernel(ip_address(each.partition("/")[0]) for each in ADDRESSES)
    ours, theirs = FakeHostSockets(kernel), FakeHostSockets(kernel)
    yield Owner(ours, ours.dump), Owner(theirs, theirs.dump)


@contextmanager
def linux() -> Iterator[Owners]:
    with namespace(ADDRESSES) as host, host.entered():
        ours, theirs = LinuxHostSockets(), LinuxHostSockets()
        owners = Owner(ours, ours.dump), Owner(theirs, theirs.dump)
        try:
            yield owners
        finally:
            for owner in owners:
                owner.close()


@pytest.fixture(params=[table, linux], ids=["fake", "linux"])
def owners(request: pytest.FixtureRequest) -> Iterator[Owners]:
    host: Callable[[], AbstractContextManager[Owners]] = request.param
    with host() as both:
        yield both


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("0.0.0.0:80", "192.0.2.10:80"),
        ("192.0.2.10:80", "0.0.0.0:80"),
        ("[::]:80", "[fd00:10::2]:80"),
        ("[fd00:10::2]:80", "[::]:80"),
    ],
)
def test_a_port_in_use_is_refused(owners: Owners, protocol: str, held: str, wanted: str) -> None:
    ours, theirs = owners
    theirs.reserve(f"{protocol} {held}")
    theirs.listen(f"{protocol} {held}")
    with pytest.raises(HostPortInUse):
        ours.reserve(f"{protocol} {wanted}")
    assert ours.held() == {}


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("tcp 192.0.2.10:80", "tcp 192.0.2.11:80"),
        ("tcp 192.0.2.10:80", "tcp 192.0.2.10:81"),
        ("tcp 0.0.0.0:80", "udp 0.0.0.0:80"),
        ("tcp 0.0.0.0:80", "tcp [::]:80"),
        ("udp [::]:80", "udp 0.0.0.0:80"),
    ],
)
def test_other_addresses_ports_protocols_and_families_are_free(
    owners: Owners, held: str, wanted: str
) -> None:
    """A socket of [::] holds IPv6 only, so that IPv4 can be published on its own."""
    ours, theirs = owners
    theirs.reserve(held)
    theirs.listen(held)
    ours.reserve(wanted)
    ours.listen(wanted)


def test_udp_shares_a_port_with_nobody_even_before_it_is_used(owners: Owners) -> None:
    ours, theirs = owners
    theirs.reserve("udp 0.0.0.0:53")
    with pytest.raises(HostPortInUse):
        ours.reserve("udp 192.0.2.10:53")


def test_only_one_of_two_that_bound_a_tcp_port_can_listen(owners: Owners) -> None:
    ours, theirs = owners
    theirs.reserve("tcp 0.0.0.0:80")
    ours.reserve("tcp 192.0.2.10:80")
    theirs.listen("tcp 0.0.0.0:80")
    with pytest.raises(HostPortInUse):
        ours.listen("tcp 192.0.2.10:80")


def test_what_could_not_listen_is_still_held_and_listens_once_the_other_is_gone(
    owners: Owners,
) -> None:
    ours, theirs = owners
    ours.reserve("tcp 0.0.0.0:80")
    theirs.reserve("tcp 192.0.2.10:80")
    theirs.listen("tcp 192.0.2.10:80")
    with pytest.raises(HostPortInUse):
        ours.listen("tcp 0.0.0.0:80")
    assert not ours.held()["0.0.0.0:80/tcp"].listening
    theirs.release("tcp 192.0.2.10:80")
    ours.listen("tcp 0.0.0.0:80")
    assert ours.held()["0.0.0.0:80/tcp"].listening


@pytest.mark.parametrize("text", ["tcp 203.0.113.9:80", "udp [2001:db8::9]:80"])
def test_an_address_of_no_interface_is_refused(owners: Owners, text: str) -> None:
    ours, _ = owners
    with pytest.raises(AddressNotOnHost):
        ours.reserve(text)
    assert ours.held() == {}


@pytest.mark.parametrize("text", ["tcp [fe80::1]:80", "udp [ff02::1]:80"])
def test_an_address_of_each_link_is_refused(owners: Owners, text: str) -> None:
    ours, _ = owners
    with pytest.raises(AddressOfLink):
        ours.reserve(text)
    assert ours.held() == {}


def test_a_released_port_can_be_had_again_at_once(owners: Owners) -> None:
    ours, theirs = owners
    ours.reserve("tcp 0.0.0.0:80")
    ours.listen("tcp 0.0.0.0:80")
    ours.release("tcp 0.0.0.0:80")
    theirs.reserve("tcp 0.0.0.0:80")
    theirs.listen("tcp 0.0.0.0:80")


def test_releasing_what_is_not_held_has_no_effect(owners: Owners) -> None:
    ours, theirs = owners
    theirs.reserve("tcp 0.0.0.0:80")
    ours.release("tcp 0.0.0.0:80")
    assert list(theirs.held()) == ["0.0.0.0:80/tcp"]


def test_sockets_are_described_as_they_are(owners: Owners) -> None:
    ours, _ = owners
    ours.reserve("tcp 0.0.0.0:80", "tcp [::]:80", "udp 0.0.0.0:53", "udp [::]:53")
    ours.listen("tcp 0.0.0.0:80")
    ours.listen("udp 0.0.0.0:53")
    assert {
        text: (each.listening, each.reuseaddr, each.v6only, each.pktinfo)
        for text, each in ours.held().items()
    } == {
        "0.0.0.0:80/tcp": (True, True, None, False),
        "[::]:80/tcp": (False, True, True, False),
        "0.0.0.0:53/udp": (False, False, None, True),
        "[::]:53/udp": (False, False, True, True),
    }


def test_every_socket_has_a_descriptor_of_its_own(owners: Owners) -> None:
    ours, _ = owners
    ours.reserve("tcp 0.0.0.0:80", "tcp 0.0.0.0:81")
    assert ours.fileno("tcp 0.0.0.0:80") != ours.fileno("tcp 0.0.0.0:81")

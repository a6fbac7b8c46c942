"""What the kernel's refusals become, by a socket that refuses as it is told."""

import errno
import os
import socket
from ipaddress import ip_address

import pytest

from hostports.errors import (
    AddressNotOnHost,
    HostPortInUse,
    HostportsError,
    NotPermitted,
    SocketFailed,
    UnsupportedProtocol,
)
from hostports.linux.sockets import SO_ATTACH_FILTER, LinuxHostSockets
from hostports.model.port import Protocol, SocketAddress

ADDRESS = SocketAddress(Protocol.UDP, ip_address("::1"), 60000)


ATTACH = (socket.SOL_SOCKET, SO_ATTACH_FILTER)


class RefusingSocket:
    """Refuses an option, or a bind if none is named; remembers whether it listens or was closed."""

    def __init__(self, number: int, option: tuple[int, int] | None = None) -> None:
        self._error = OSError(number, os.strerror(number))
        self._option = option
        self.listening = False
        self.closed = False

    def make(self, *_: int) -> socket.socket:
        return self  # type: ignore[return-value]

    def setsockopt(self, level: int, name: int, _value: int | bytes) -> None:
        if (level, name) == self._option:
            raise self._error

    def bind(self, _: tuple[str, int]) -> None:
        if self._option is None:
            raise self._error

    def listen(self, _: int) -> None:
        self.listening = True

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("number", "refusal", "mend"),
    [
        (errno.EADDRINUSE, HostPortInUse, "publish another port"),
        (errno.EADDRNOTAVAIL, AddressNotOnHost, "publish on one of `ip addr`"),
        (errno.EACCES, NotPermitted, "security module or cgroup program"),
        (errno.EPERM, NotPermitted, "security module or cgroup program"),
        (errno.EAFNOSUPPORT, UnsupportedProtocol, "this kernel has no UDP sockets of IPv6"),
        (errno.EMFILE, SocketFailed, "Too many open files; raise the process's limit"),
        (errno.ENOBUFS, SocketFailed, "No buffer space available"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_a_refusal_says_in_one_line_what_is_wrong_and_what_to_do(
    number: int, refusal: type[HostportsError], mend: str
) -> None:
    refusing = RefusingSocket(number)
    sockets = LinuxHostSockets(refusing.make)
    with pytest.raises(refusal) as caught:
        sockets.reserve(ADDRESS)
    assert type(caught.value) is refusal
    assert str(caught.value).startswith("[::1]:60000/udp ")
    assert mend in str(caught.value)
    assert "\n" not in str(caught.value)
    assert refusing.closed
    assert sockets.dump() == []


@pytest.mark.parametrize(
    "option", [socket.IPV6_V6ONLY, socket.IPV6_RECVPKTINFO], ids=["v6only", "pktinfo"]
)
def test_a_socket_that_can_not_have_its_options_is_not_used(option: int) -> None:
    """It would take IPv4's traffic as well, or answer from the wrong address."""
    refusing = RefusingSocket(errno.ENOPROTOOPT, (socket.IPPROTO_IPV6, option))
    with pytest.raises(SocketFailed):
        LinuxHostSockets(refusing.make).reserve(ADDRESS)
    assert refusing.closed


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.SCTP])
def test_what_has_to_listen_first_needs_no_filter(protocol: Protocol) -> None:
    """The kernel refuses its connections until then."""
    refusing = RefusingSocket(errno.EPERM, ATTACH)
    sockets = LinuxHostSockets(refusing.make)
    address = SocketAddress(protocol, ip_address("::1"), 60000)
    sockets.reserve(address)
    sockets.listen(address, relayed=True)
    assert refusing.listening


def test_datagrams_are_not_let_in_early_for_want_of_a_filter() -> None:
    refusing = RefusingSocket(errno.EPERM, ATTACH)
    with pytest.raises(NotPermitted):
        LinuxHostSockets(refusing.make).reserve(ADDRESS)
    assert refusing.closed

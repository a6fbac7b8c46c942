"""SCTP sockets by the calls that are made for them: most kernels here have none."""

import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

import pytest

from hostports.errors import UnsupportedProtocol
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.sockets import (
    MOST_CONNECTIONS,
    SCTP_INITMSG,
    SO_ATTACH_FILTER,
    LinuxHostSockets,
)
from hostports.model.port import Protocol, SocketAddress
from tests.netns.namespaces import namespace

ADDRESS = SocketAddress(Protocol.SCTP, ip_address("::1"), 5000)
ATTACH = (socket.SOL_SOCKET, SO_ATTACH_FILTER)
HAS_SCTP = Protocol.SCTP in LinuxHostFacts().read().protocols


class ScriptedSocket:
    """Writes down what is done with it."""

    def __init__(self, calls: list[tuple[Any, ...]], *made_as: int) -> None:
        self._calls = calls
        calls.append(("socket", *made_as))

    def setsockopt(self, *option: int | bytes) -> None:
        self._calls.append(("setsockopt", *option))

    def bind(self, address: tuple[str, int]) -> None:
        self._calls.append(("bind", address))

    def listen(self, backlog: int) -> None:
        self._calls.append(("listen", backlog))

    def close(self) -> None:
        self._calls.append(("close",))


def test_an_sctp_socket_is_bound_deaf_and_listens_when_told() -> None:
    calls: list[tuple[Any, ...]] = []
    sockets = LinuxHostSockets(lambda *how: ScriptedSocket(calls, *how))  # type: ignore[arg-type]
    sockets.reserve(ADDRESS)
    sockets.listen(ADDRESS, relayed=True)
    sockets.release(ADDRESS)
    assert [call for call in calls if call[0] != "setsockopt"] == [
        ("socket", socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_SCTP),
        ("bind", ("::1", 5000)),
        ("listen", MOST_CONNECTIONS),
        ("close",),
    ]
    options = [call[1:3] for call in calls if call[0] == "setsockopt"]
    assert (socket.IPPROTO_SCTP, SCTP_INITMSG) in options
    assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) in options
    assert ATTACH not in options


def test_sctp_sockets_without_kernel_support_are_refused_in_one_line() -> None:
    def none(*_: int) -> socket.socket:
        raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))

    sockets = LinuxHostSockets(none)
    with pytest.raises(UnsupportedProtocol) as caught:
        sockets.reserve(ADDRESS)
    assert str(caught.value) == (
        "[::1]:5000/sctp can't be bound: this kernel has no SCTP sockets of IPv6; "
        "load the kernel module, or leave the port out"
    )
    assert sockets.dump() == []


@pytest.mark.skipif(not HAS_SCTP, reason="this kernel has no SCTP sockets")
def test_a_real_sctp_port_is_held() -> None:
    with namespace(["::1/128"]) as host, host.entered():
        sockets = LinuxHostSockets()
        sockets.reserve(ADDRESS)
        sockets.listen(ADDRESS, relayed=True)
        assert sockets.dump()[0].listening
        sockets.release(ADDRESS)

"""Which addresses somebody listens on: the kernel's socket table (sock_diag(7))."""

import socket
from collections.abc import Iterator, Set
from ipaddress import ip_address
from typing import Any, Final

from pyroute2 import DiagSocket

from hostports.model.address import ANY_IPV4, ANY_IPV6
from hostports.model.port import Protocol, SocketAddress

#: A listening socket of TCP, and one of UDP that is not connected (linux/tcp_states.h).
_STATES: Final = {Protocol.TCP: 1 << 10, Protocol.UDP: 1 << 7}


def listening() -> Set[SocketAddress]:
    """Those of TCP and UDP in the thread's network namespace. Raises `OSError`, `NetlinkError`.

    The thread must have no event loop: pyroute2 brings one.
    """
    with DiagSocket() as diag:
        diag.bind()
        return frozenset(
            address
            for protocol, states in _STATES.items()
            for family in (socket.AF_INET, socket.AF_INET6)
            for each in diag.get_sock_stats(family=family, states=states, protocol=protocol.number)
            for address in _addresses(each, protocol)
        )


def _addresses(found: Any, protocol: Protocol) -> Iterator[SocketAddress]:  # noqa: ANN401 - pyroute2 has no types
    """What a socket is bound to; ``[::]`` may be IPv4's wildcard, too."""
    ip, port = ip_address(found["idiag_src"]), found["idiag_sport"]
    yield SocketAddress(protocol, ip, port)
    if is_dual_stack(found):
        yield SocketAddress(protocol, ANY_IPV4, port)


def is_dual_stack(found: Any) -> bool:  # noqa: ANN401 - pyroute2 has no types
    """Whether a socket, as the kernel tells of it, is bound to ``[::]`` for IPv4, too."""
    for_both = found.get_attr("INET_DIAG_SKV6ONLY") == 0
    return for_both and ip_address(found["idiag_src"]) == ANY_IPV6

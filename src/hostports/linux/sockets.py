"""Host sockets: bound to hold a port, deaf until the firewall is ready, then listening.

Two facts shape this. An address of a TCP port may be bound twice while nobody listens, if both set
SO_REUSEADDR; TCP must set it, or a port in TIME_WAIT could not be published again at once, and so
only listen(2) proves that the port is ours. UDP must not set it: there both binders would succeed,
and one of them would never get a datagram (socket(7)).
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

from hostports.errors import (
    AddressNotOnHost,
    AddressOfLink,
    HostPortInUse,
    HostportsError,
    NotPermitted,
    SocketFailed,
    UnsupportedProtocol,
)
from hostports.linux import sysctl
from hostports.linux.holders import holder
from hostports.model.address import Family, family, spelled
from hostports.model.port import HeldSocket, Protocol, SocketAddress

MakeSocket: TypeAlias = Callable[[int, int, int], socket.socket]

# Numbers that Python's socket module has no names for (asm-generic/socket.h, linux/in.h, in6.h).
SO_ATTACH_FILTER: Final = 26
SO_DETACH_FILTER: Final = 27
IP_PKTINFO: Final = 8
SCTP_INITMSG: Final = 2

#: The classic BPF program ``ret #0``: not a byte of any packet is kept (linux/filter.h).
_DROPPING: Final = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
#: struct sock_fprog: one instruction, and where it is; the kernel copies it.
_FPROG: Final = struct.pack("HP", 1, ctypes.addressof(_DROPPING))

#: More than any net.core.somaxconn, to which listen(2) cuts it; SOMAXCONN is but its default.
MOST_CONNECTIONS: Final = 2**31 - 1

#: struct sctp_initmsg: as many streams as there can be, kernel defaults for attempts and timeout.
_MOST_STREAMS: Final = struct.pack("HHHH", 0xFFFF, 0xFFFF, 0, 0)


class _Option(NamedTuple):
    level: int
    name: int
    value: int | bytes = 1


class _Kind(NamedTuple):
    """How the sockets of a protocol are made."""

    type: int
    protocol: int
    options: tuple[_Option, ...]


_REUSE: Final = _Option(socket.SOL_SOCKET, socket.SO_REUSEADDR)
_KINDS: Final = {
    Protocol.TCP: _Kind(socket.SOCK_STREAM, socket.IPPROTO_TCP, (_REUSE,)),
    Protocol.UDP: _Kind(socket.SOCK_DGRAM, socket.IPPROTO_UDP, ()),
    # Like TCP; an association that was shut down keeps its port for a while, too (RFC 9260 9.2).
    Protocol.SCTP: _Kind(
        socket.SOCK_STREAM,
        socket.IPPROTO_SCTP,
        (_REUSE, _Option(socket.IPPROTO_SCTP, SCTP_INITMSG, _MOST_STREAMS)),
    ),
}
#: A reply must leave from the address that the client wrote to, so the relay has to learn it.
_PACKET_INFO: Final = {
    Family.IPV4: _Option(socket.IPPROTO_IP, IP_PKTINFO),
    Family.IPV6: _Option(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
}
_DROP_ALL: Final = _Option(socket.SOL_SOCKET, SO_ATTACH_FILTER, _FPROG)
_ONLY_IPV6: Final = _Option(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
_FAMILIES: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_FIRST_UNPRIVILEGED_PORT: Final = 1024
_UNSUPPORTED: Final = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT)
#: The mend for what SocketFailed tells, where there is one.
_HINTS: Final = {
    errno.EMFILE: "raise the process's limit of open files (ulimit -n, LimitNOFILE= of systemd)",
    errno.ENFILE: "raise the host's limit of open files (sysctl fs.file-max)",
}


class LinuxHostSockets:
    """`HostSockets` of the network namespace that the calling thread is in."""

    def __init__(self, make_socket: MakeSocket = socket.socket) -> None:
        self._make_socket = make_socket
        self._held: dict[SocketAddress, socket.socket] = {}
        self._inherited: dict[SocketAddress, socket.socket] = {}

    def inherit(self, sockets: Iterable[socket.socket]) -> None:
        """Keep sockets that were somebody else's, until they are reserved or `disinherit`."""
        self._inherited |= {_address_of(each): each for each in sockets}

    def disinherit(self) -> None:
        """Close the inherited sockets that nobody has reserved."""
        while self._inherited:
            self._inherited.popitem()[1].close()

    def reserve(self, address: SocketAddress) -> None:
        """Bind a socket that is deaf; or take an inherited one, as it is."""
        try:
            inherited = self._inherited.pop(address) if address in self._inherited else None
            self._held[address] = inherited or self._bound(address)
        except OSError as error:
            raise _translated(error, address) from error

    def listen(self, address: SocketAddress, *, relayed: bool) -> None:
        """Listen, if connections have to be accepted, or let datagrams in."""
        held = self._held[address]
        try:
            if address.protocol.listens:
                held.listen(MOST_CONNECTIONS if relayed else 0)
            else:
                with suppress(FileNotFoundError):  # it was inherited, and is deaf no longer
                    held.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        except OSError as error:
            raise _translated(error, address) from error

    def holder(self, address: SocketAddress) -> str:
        """Which process holds an address; empty where nobody can tell."""
        return holder(address)

    def fileno(self, address: SocketAddress) -> int:
        """The descriptor of a reserved socket."""
        return self._held[address].fileno()

    def release(self, address: SocketAddress) -> None:
        """Close a socket of ours; no effect where there is none."""
        if held := self._held.pop(address, None):
            held.close()

    def dump(self) -> list[HeldSocket]:
        """The sockets held, as the kernel describes them, sorted."""
        return sorted((_described(*each) for each in self._held.items()), key=str)

    def _bound(self, address: SocketAddress) -> socket.socket:
        kind, of = _KINDS[address.protocol], family(address.ip)
        made = self._make_socket(_FAMILIES[of], kind.type | socket.SOCK_CLOEXEC, kind.protocol)
        try:
            for option in _options(address.protocol, of):
                made.setsockopt(*option)
            made.bind((spelled(address.ip), address.port))
        except BaseException:
            made.close()
            raise
        return made


def _address_of(bound: socket.socket) -> SocketAddress:
    ip, port = bound.getsockname()[:2]
    kind = bound.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    (protocol,) = (each for each in Protocol if each.number == kind)
    return SocketAddress(protocol, ip_address(ip), port)


@lru_cache
def _options(protocol: Protocol, of: Family) -> tuple[_Option, ...]:
    """What is set before bind(2); what listens needs no filter, as it is deaf until then."""
    only = (_ONLY_IPV6,) if of is Family.IPV6 else ()
    of_datagrams = () if protocol.listens else (_PACKET_INFO[of], _DROP_ALL)
    return (*_KINDS[protocol].options, *only, *of_datagrams)


def _described(address: SocketAddress, held: socket.socket) -> HeldSocket:
    def is_set(option: _Option) -> bool:
        return bool(held.getsockopt(option.level, option.name))

    of = family(address.ip)
    return HeldSocket(
        address,
        is_set(_Option(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)),
        is_set(_REUSE),
        is_set(_ONLY_IPV6) if of is Family.IPV6 else None,
        address.protocol is Protocol.UDP and is_set(_PACKET_INFO[of]),
    )


def _translated(error: OSError, address: SocketAddress) -> HostportsError:
    """What the kernel's answer means for whoever wanted the address."""
    if error.errno == errno.EADDRINUSE:
        return HostPortInUse(str(address))
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressNotOnHost(str(address))
    if error.errno == errno.EINVAL:
        return AddressOfLink(str(address))
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(f"{address} can't be bound: {error.strerror}", _permission(address))
    if error.errno in _UNSUPPORTED:
        name = address.protocol.value
        return UnsupportedProtocol(
            f"{address} can't be bound: this kernel has no {name.upper()} sockets "
            f"of IPv{address.ip.version}",
            "load the kernel module, or leave the port out",
        )
    hint = _HINTS.get(error.errno or 0, "")
    return SocketFailed(f"{address} can't be bound: {error.strerror}", hint)


def _permission(address: SocketAddress) -> str:
    """How to be permitted; the setting is of the network namespace, and 0 on some hosts."""
    first = int(sysctl.read("net.ipv4.ip_unprivileged_port_start") or _FIRST_UNPRIVILEGED_PORT)
    if address.port < first:
        return f"run as root or with CAP_NET_BIND_SERVICE, or publish a port from {first} on"
    return "a security module or cgroup program forbids it: see the host's audit log"

"""Socket addresses as the kernel reads them (ip(7), ipv6(7))."""

import socket
import struct
from ipaddress import IPv4Address
from typing import Final

from hostports.model.address import IPAddress

#: struct sockaddr_in after its family: port in network order, address, padding.
_IPV4: Final = struct.Struct("=H2s4s8x")
#: struct sockaddr_in6: family, port, flow, address, scope.
_IPV6: Final = struct.Struct("=H2sI16sI")


def socket_family(ip: IPAddress) -> int:
    """The address family of sockets to an address."""
    return socket.AF_INET if isinstance(ip, IPv4Address) else socket.AF_INET6


def packed(ip: IPAddress, port: int) -> bytes:
    """A struct sockaddr_in or sockaddr_in6."""
    number = port.to_bytes(2, "big")
    if isinstance(ip, IPv4Address):
        return _IPV4.pack(socket.AF_INET, number, ip.packed)
    return _IPV6.pack(socket.AF_INET6, number, 0, ip.packed, 0)


def host_of(address: bytes) -> str:
    """The IP address in a packed socket address."""
    if len(address) == _IPV4.size:
        return socket.inet_ntop(socket.AF_INET, address[4:8])
    return socket.inet_ntop(socket.AF_INET6, address[8:24])

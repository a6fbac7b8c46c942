"""The PROXY protocol, version 2: how the relay tells a container who its client is.

A header before the first byte of a connection (haproxy's ``proxy-protocol.txt``, section 2.2).
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from hostports.model.address import IPAddress, unmapped

#: An address and a port, as getpeername(2) and getsockname(2) give them.
SocketName: TypeAlias = tuple[str | IPAddress, int]

#: What no protocol's client begins with.
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: Version 2, command PROXY: the connection is made on somebody's behalf.
_VERSION_COMMAND: Final = 0x21
_TCP_OVER_IPV4: Final = 0x11
_TCP_OVER_IPV6: Final = 0x21
#: Signature, version and command, family and transport, length of what follows.
_START: Final = struct.Struct("!12sBBH")
_PORTS: Final = struct.Struct("!HH")


def header(client: SocketName, destination: SocketName) -> bytes:
    """The header for a TCP connection from `client` to `destination`, 28 or 52 bytes.

    An IPv4-mapped address is IPv4; beside an IPv6 address IPv4 is written mapped, as a header has
    one family. A ``%scope`` has no place in it and is left out.
    """
    source, target = _ip(client[0]), _ip(destination[0])
    family = _TCP_OVER_IPV4
    if source.version != target.version:
        source, target = _mapped(source), _mapped(target)
    if source.version == 6:
        family = _TCP_OVER_IPV6
    body = source.packed + target.packed + _PORTS.pack(client[1], destination[1])
    return _START.pack(_SIGNATURE, _VERSION_COMMAND, family, len(body)) + body


def _ip(address: str | IPAddress) -> IPAddress:
    return unmapped(ip_address(str(address).partition("%")[0]))


def _mapped(ip: IPAddress) -> IPAddress:
    """An IPv4 address within IPv6 (RFC 4291 2.5.5.2)."""
    return IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed) if isinstance(ip, IPv4Address) else ip

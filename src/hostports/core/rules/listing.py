"""What ``nft list table`` says of our table; by lines, for its JSON changes between versions."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from hostports.core.rules.nft import TableObject
from hostports.core.rules.skeleton import GUARD
from hostports.model.address import Family
from hostports.model.port import Protocol, SocketAddress

_OBJECT: Final = re.compile(r"^\t(chain|set|map) (\S+) \{", re.MULTILINE)
_GUARD: Final = re.compile(rf'meta nfproto ipv(\d) .*comment "{GUARD}"')


def present_objects(listed: str) -> list[TableObject]:
    """The chains, sets and maps in the table."""
    return [TableObject(*found) for found in _OBJECT.findall(listed)]


def holds_networks(listed: str) -> bool:
    """Whether there are chains of some network."""
    return any(kind == "chain" and name.startswith("to_") for kind, name in present_objects(listed))


def guarded_families(listed: str) -> frozenset[Family]:
    """The families that an earlier table of ours guards."""
    return frozenset(Family(int(of)) for of in _GUARD.findall(listed))


_COUNTED: Final = re.compile(
    r"(?:([0-9a-f.:]+) \. )?(tcp|udp|sctp) \. (\d+) counter packets (\d+) bytes (\d+)"
)


def counted(listed: str, of: Family) -> Iterator[tuple[SocketAddress, int, int]]:
    """The elements of a collection that counts: host side, packets, bytes."""
    for ip, protocol, port, packets, size in _COUNTED.findall(listed):
        host_ip = ip_address(ip) if ip else of.wildcard
        yield SocketAddress(Protocol(protocol), host_ip, int(port)), int(packets), int(size)

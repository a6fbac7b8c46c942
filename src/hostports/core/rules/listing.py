"""What ``nft list table`` says of our table; by lines, for its JSON changes between versions."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from hostports.core.rules.nft import TableObject
from hostports.core.rules.skeleton import GUARD, TABLE, is_ours
from hostports.model.address import Family
from hostports.model.port import Protocol, SocketAddress

_OUR_TABLE: Final = re.compile(rf"^table inet {TABLE} \{{\n.*?^\}}\n", re.MULTILINE | re.DOTALL)
_OBJECT: Final = re.compile(r"^\t(chain|set|map) (\S+) \{", re.MULTILINE)
_GUARD: Final = re.compile(rf'meta nfproto ipv(\d) .*comment "{GUARD}"')


def our_table(ruleset: str) -> str:
    """Our table's part of a whole ruleset; empty if it isn't there."""
    found = _OUR_TABLE.search(ruleset)
    return found.group() if found else ""


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


_BODY: Final = re.compile(r"^\t(?:chain|set|map) (\S+) \{\n(.*?)^\t\}", re.MULTILINE | re.DOTALL)
_ELEMENTS: Final = re.compile(r"^\t\telements = \{(.*?)\}$", re.MULTILINE | re.DOTALL)
#: A line of a chain that is no rule: what hook it is at, with which policy.
_HOOK: Final = re.compile(r"^\t\ttype \w+ hook ", re.MULTILINE)


def sizes(listed: str) -> dict[str, int]:
    """How many rules each chain has, and how many elements each collection of ours."""
    return {name: _size(body) for name, body in _BODY.findall(listed) if is_ours(name)}


def _size(body: str) -> int:
    if body.startswith("\t\ttype ") and not _HOOK.match(body):
        found = _ELEMENTS.search(body)
        return found.group(1).count(",") + 1 if found else 0
    return len(re.findall(r"^\t\t\S", body, re.MULTILINE)) - len(_HOOK.findall(body))


def differences(wanted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """What of ours is missing, or is more or less than it must be, in words."""
    return [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(f"{name} should not be there" for name in found if name not in wanted),
        *(
            f"{name} has {found[name]} entries instead of {size}"
            for name, size in wanted.items()
            if found.get(name, size) != size
        ),
    ]


def lacking(wanted: Mapping[str, int], found: Mapping[str, int]) -> bool:
    """Whether something of ours is missing, not only more than it must be."""
    return any(found.get(name, -1) < size for name, size in wanted.items())

"""What ``iptables-save`` says of our chains."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from hostports.core.rules.iptables.place import OURS, USER_CHAIN, place
from hostports.core.rules.iptables.script import Present
from hostports.core.rules.iptables.skeleton import GUARD_COMMENT, PUBLISH, Jump
from hostports.model.address import Family
from hostports.model.firewall import Traffic
from hostports.model.port import Protocol, SocketAddress

#: Of whatever version or words: one that stays would keep its chain from being removed.
_JUMP: Final = re.compile(rf"-A (?!{OURS})(\S+) ((?:.* )?-j {OURS}(?!USER$)\S+)")
_OF_USER: Final = re.compile(rf"-A {USER_CHAIN} (?:.* )?-[jg] ({OURS}\S+)")
_COUNTS: Final = re.compile(r"\[(\d+):(\d+)\] -A (\S+) (.*)")
_PROTOCOL: Final = re.compile(r"-p (\w+)")
_PUBLISHED: Final = re.compile(r"--dport (\d+)")
_COUNTED: Final = re.compile(r"--ctorigdstport (\d+)")
_TO: Final = re.compile(r"(?<!! )-d ([0-9a-f.:]+)/")
_ORIGINAL: Final = re.compile(r"--ctorigdst ([0-9a-f.:]+)")


def present(saved: str) -> Present:
    """What is there of us."""
    chains: dict[str, list[str]] = {}
    found: list[Jump] = []
    led_to: set[str] = set()
    for table, line in _lines(saved):
        if line.startswith(f":{OURS}"):
            chains.setdefault(table, []).append(line[1:].split()[0])
        elif jump := _JUMP.fullmatch(line):
            found.append(Jump(table, *jump.groups()))
        elif user := _OF_USER.fullmatch(line):
            led_to.add(user[1])
    return Present(chains, tuple(found), frozenset(led_to))


def sizes(of: Family, saved: str) -> dict[str, int]:
    """How many rules each chain of ours has, by its place."""
    found: Counter[str] = Counter()
    for table, line in _lines(saved):
        if line.startswith(f":{OURS}"):
            found[place(of, table, line[1:].split()[0])] += 0
        elif line.startswith(f"-A {OURS}"):
            found[place(of, table, line.split(" ", 2)[1])] += 1
    del found[place(of, "filter", USER_CHAIN)]
    return dict(found)


def ours(saved: str) -> list[str]:
    """The lines that are ours, each with its table."""
    return [
        f"{table} {line}"
        for table, line in _lines(saved)
        if line.startswith((f":{OURS}", f"-A {OURS}")) or f"-j {OURS}" in line
    ]


def guarded(saved: str) -> bool:
    """Whether a ruleset of ours guards the family."""
    return any(GUARD_COMMENT in line for line in saved.splitlines())


def user_rules(saved: str) -> bool:
    """Whether users have rules in their chain."""
    return any(line.startswith(f"-A {USER_CHAIN} ") for line in saved.splitlines())


def traffic(of: Family, saved: str) -> Mapping[SocketAddress, Traffic]:
    """What has passed through each binding, of a listing with counters."""
    found: dict[SocketAddress, Traffic] = {}
    counted: list[tuple[SocketAddress, int, int]] = []
    for packets, size, chain, rule in _counts(saved):
        if chain == PUBLISH and "-j DNAT" in rule:
            found[_socket(of, rule, _PUBLISHED, _TO)] = Traffic(packets)
        elif chain.startswith(f"{OURS}count-"):
            counted.append((_socket(of, rule, _COUNTED, _ORIGINAL), packets, size))
    for socket, packets, size in counted:
        if socket in found:
            found[socket] = replace(found[socket], packets=packets, bytes=size)
    return found


def _counts(saved: str) -> Iterator[tuple[int, int, str, str]]:
    for packets, size, chain, rule in _COUNTS.findall(saved):
        yield int(packets), int(size), chain, rule


def _socket(
    of: Family, rule: str, port: re.Pattern[str], address: re.Pattern[str]
) -> SocketAddress:
    protocol, number = _PROTOCOL.search(rule), port.search(rule)
    if protocol is None or number is None:
        raise ValueError(f"a rule of ours without a port: {rule}")
    at = address.search(rule)
    ip = ip_address(at[1]) if at else of.wildcard
    return SocketAddress(Protocol(protocol[1]), ip, int(number[1]))


def _lines(saved: str) -> Iterable[tuple[str, str]]:
    """Each line with its table."""
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif not line.startswith("#"):
            yield table, line

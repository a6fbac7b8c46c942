"""What others do to our rules, told by the kernel (NFNLGRP_NFTABLES, linux/nf_tables.h).

Those of iptables-nft are in nf_tables, too.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from hostports.core.rules.iptables.place import OURS, USER_CHAIN, place
from hostports.core.rules.iptables.skeleton import TABLES
from hostports.core.rules.skeleton import TABLE, is_ours
from hostports.errors import FirewallFailed
from hostports.linux.multicast import (
    BUFFER_BYTES,
    Multicast,
    attributes,
    messages,
    sender,
    text,
)
from hostports.linux.programs import Programs
from hostports.model.address import Family
from hostports.model.firewall import Damage

_NETLINK_NETFILTER: Final = 12
_GROUP_NFTABLES: Final = 1 << (7 - 1)
#: nfgenmsg: family, version, resource.
_GENERIC_BYTES: Final = 4
_SUBSYSTEM_NFTABLES: Final = 10
#: NFPROTO_*
_FAMILIES: Final = {1: "inet", 2: "ip", 10: "ip6"}
_IPTABLES: Final = {"ip": Family.IPV4, "ip6": Family.IPV6}
#: NFT_MSG_{NEW,GET,DEL}* of each, three by three; then NFT_MSG_NEWGEN, which ends a transaction.
_OBJECTS: Final = ("table", "chain", "rule", "set", "element")
_NEW, _GONE = 0, 2
_NEW_GENERATION: Final = 15
#: The attribute with an object's name: NFTA_{CHAIN,RULE,SET,SET_ELEM_LIST}_*; the first is always
#: the table's.
_NAME: Final = {"table": 1, "chain": 3, "rule": 2, "set": 2, "element": 2}
#: NFTA_RULE_EXPRESSIONS, and in it NFTA_VERDICT_CHAIN with the name of a chain of ours.
_EXPRESSIONS: Final = 4
_JUMP: Final = re.compile(re.escape(struct.pack("=H", 2)) + f"(?!{USER_CHAIN}\0){OURS}".encode())
#: NFTA_GEN_PROC_PID and NFTA_GEN_PROC_NAME
_PID, _PROGRAM = 2, 3
#: So many kinds of changes are told, the others only counted.
_TOLD: Final = 3


class Change(NamedTuple):
    """One message: what was made or deleted, and where; of a rule also what it does."""

    family: str
    table: str
    kind: str
    name: str
    gone: bool
    expressions: bytes = b""

    def __str__(self) -> str:
        """As for people."""
        if self.kind == "table":
            what = f"table {self.family} {self.table}"
        elif self.kind in ("chain", "set"):
            what = f"{self.kind} {self.name}"
        else:
            what = f"{self.kind}s of {self.name}"
        return f"{what} {'deleted' if self.gone else 'added'}"


def in_our_table(change: Change) -> str:
    """Which part of our table in nftables it concerns, users' own aside; empty if none."""
    ours = (change.family, change.table) == ("inet", TABLE)
    return change.name if ours and (change.kind == "table" or is_ours(change.name)) else ""


def in_our_chains(change: Change) -> str:
    """In which place it concerns chains that iptables-nft made for us, or jumps to them that go."""
    of = _IPTABLES.get(change.family)
    if of is None or change.table not in TABLES:
        return ""
    if change.name.startswith(OURS):
        concerned = change.name != USER_CHAIN
    else:
        concerned = change.gone and (
            change.kind == "table" or _JUMP.search(change.expressions) is not None
        )
    return place(of, change.table, change.name) if concerned else ""


class RuleWatch:
    """`Watch` of our rules in the network namespace of the thread that makes it.

    Changes by `programs` that are ours are passed over, and so are those for which
    `part` names no part of ours. What was missed, for it was too much, counts as a change, too.
    Raises `FirewallFailed` where the kernel doesn't tell.
    """

    def __init__(
        self,
        programs: Programs,
        part: Callable[[Change], str] = in_our_table,
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._programs = programs
        self._part = part
        #: What is known of a transaction whose end is not told yet: parts by what was done.
        self._seen: dict[tuple[str, str], None] = {}
        try:
            self._told = Multicast(_NETLINK_NETFILTER, _GROUP_NFTABLES, buffer_bytes)
        except OSError as error:
            raise FirewallFailed(
                f"changes of nftables can't be watched: {error.strerror}"
            ) from error
        self.fileno = self._told.fileno
        self.close = self._told.close

    def read(self) -> list[Damage]:
        """What others have done since the last call, by transactions that have ended."""
        with self._programs.all_told():
            return [*self._damages()]

    def _damages(self) -> Iterator[Damage]:
        for datagram in self._told.datagrams():
            if not datagram:
                yield Damage(("more was changed than the kernel could tell",))
            elif not self._programs.ran(sender(datagram)):
                for each in changes(datagram):
                    if part := self._part(each):
                        self._seen[str(each), part] = None
                program = _program(datagram) if self._seen else None
                if program is not None:
                    said = _in_words([*dict.fromkeys(said for said, _ in self._seen)], program)
                    yield Damage((said,), frozenset(part for _, part in self._seen))
                    self._seen.clear()


def changes(datagram: bytes) -> Iterator[Change]:
    """What one datagram says."""
    for message in messages(datagram):
        which, act = divmod(message.kind & 0xFF, 3)
        family = _FAMILIES.get(message.body[0], "") if message.body else ""
        known = message.kind >> 8 == _SUBSYSTEM_NFTABLES and family
        if known and which < len(_OBJECTS) and act in (_NEW, _GONE):
            named = attributes(message.body[_GENERIC_BYTES:])
            what = _OBJECTS[which]
            table, name = (text(named.get(number, b"")) for number in (1, _NAME[what]))
            rule = named.get(_EXPRESSIONS, b"") if what == "rule" else b""
            yield Change(family, table, what, name, act == _GONE, rule)


def _program(datagram: bytes) -> str | None:
    """Who has done it, as ``nft (pid 812)``, which is told when a transaction ends; else None."""
    for message in messages(datagram):
        if message.kind == _SUBSYSTEM_NFTABLES << 8 | _NEW_GENERATION:
            found = attributes(message.body[_GENERIC_BYTES:])
            if _PROGRAM in found and _PID in found:
                (pid,) = struct.unpack("!I", found[_PID])
                return f"{text(found[_PROGRAM])} (pid {pid})"
            return ""
    return None


def _in_words(seen: Sequence[str], program: str) -> str:
    """A table that is gone says all; of the rest a few, and how many more."""
    by = f" by {program}" if program else ""
    tables = [each for each in seen if each.startswith("table") and each.endswith("deleted")]
    told = tables or seen[:_TOLD]
    more = "" if tables or len(seen) <= _TOLD else f" and {len(seen) - _TOLD} more"
    return ", ".join(told) + more + by

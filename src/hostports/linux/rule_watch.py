"""What others do to our table, told by the kernel (NFNLGRP_NFTABLES, linux/nf_tables.h)."""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

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

_NETLINK_NETFILTER: Final = 12
_GROUP_NFTABLES: Final = 1 << (7 - 1)
#: nfgenmsg: family, version, resource.
_GENERIC_BYTES: Final = 4
_SUBSYSTEM_NFTABLES: Final = 10
_INET: Final = 1
#: NFT_MSG_{NEW,GET,DEL}* of each, three by three; then NFT_MSG_NEWGEN, which ends a transaction.
_OBJECTS: Final = ("table", "chain", "rule", "set", "element")
_NEW, _GONE = 0, 2
_NEW_GENERATION: Final = 15
#: The attribute with an object's name: NFTA_{CHAIN,RULE,SET,SET_ELEM_LIST}_*; the first is always
#: the table's.
_NAME: Final = {"table": 1, "chain": 3, "rule": 2, "set": 2, "element": 2}
#: NFTA_GEN_PROC_PID and NFTA_GEN_PROC_NAME
_PID, _PROGRAM = 2, 3
#: So many kinds of changes are told, the others only counted.
_TOLD: Final = 3


class Change(NamedTuple):
    """One message: what was made or deleted in our table."""

    kind: str
    name: str
    gone: bool

    def __str__(self) -> str:
        """As for people."""
        if self.kind == "table":
            what = f"table inet {TABLE}"
        elif self.kind in ("chain", "set"):
            what = f"{self.kind} {self.name}"
        else:
            what = f"{self.kind}s of {self.name}"
        return f"{what} {'deleted' if self.gone else 'added'}"


class RuleWatch:
    """`Watch` of our table in the network namespace of the thread that makes it.

    Changes by processes that are `ours`, by their ids, are passed over, and so is what users have
    of their own in it. What was missed, for it was too much, counts as a change, too.
    Raises `FirewallFailed` where the kernel doesn't tell.
    """

    def __init__(self, ours: Callable[[int], bool], *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._ours = ours
        try:
            self._told = Multicast(_NETLINK_NETFILTER, _GROUP_NFTABLES, buffer_bytes)
        except OSError as error:
            raise FirewallFailed(
                f"changes of nftables can't be watched: {error.strerror}"
            ) from error
        self.fileno = self._told.fileno
        self.close = self._told.close

    def read(self) -> list[str]:
        """What others have done since the last call, in words."""
        seen: dict[Change, None] = {}
        lost, program = False, ""
        for datagram in self._told.datagrams():
            if not datagram:
                lost = True
            elif not self._ours(sender(datagram)):
                seen.update(dict.fromkeys(changes(datagram)))
                program = program or (_program(datagram) if seen else "")
        said = _in_words(list(seen), program) if seen else []
        return [*said, "more was changed than the kernel could tell"] if lost else said


def changes(datagram: bytes) -> Iterator[Change]:
    """What one datagram says of our table, but for what is the users'."""
    for message in messages(datagram):
        which, act = divmod(message.kind & 0xFF, 3)
        ours = message.kind >> 8 == _SUBSYSTEM_NFTABLES and message.body[:1] == bytes([_INET])
        if ours and which < len(_OBJECTS) and act in (_NEW, _GONE):
            named = attributes(message.body[_GENERIC_BYTES:])
            what = _OBJECTS[which]
            name = text(named.get(_NAME[what], b""))
            if text(named.get(1, b"")) == TABLE and (what == "table" or is_ours(name)):
                yield Change(what, name, gone=act == _GONE)


def _program(datagram: bytes) -> str:
    """Who has done it, as ``nft (pid 812)``; known when the transaction ends."""
    for message in messages(datagram):
        if message.kind == _SUBSYSTEM_NFTABLES << 8 | _NEW_GENERATION:
            found = attributes(message.body[_GENERIC_BYTES:])
            if _PROGRAM in found and _PID in found:
                (pid,) = struct.unpack("!I", found[_PID])
                return f"{text(found[_PROGRAM])} (pid {pid})"
    return ""


def _in_words(seen: list[Change], program: str) -> list[str]:
    """A table that is gone says all; of the rest a few, and how many more."""
    by = f" by {program}" if program else ""
    tables = [each for each in seen if each.kind == "table" and each.gone]
    told = tables or seen[:_TOLD]
    more = "" if tables or len(seen) <= _TOLD else f" and {len(seen) - _TOLD} more"
    return [", ".join(map(str, told)) + more + by]

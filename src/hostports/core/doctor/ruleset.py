"""A firewall as a packet meets it, whoever wrote it: chains at hooks, rules of tests and acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from hostports.model.address import IPAddress, IPNetwork

#: What a packet has: a number, a name, an address, or words such as conntrack's states.
Value: TypeAlias = int | str | IPAddress | frozenset[str]


@dataclass(frozen=True, slots=True)
class Span:
    """Values from `first` to `last`, both included."""

    first: int | IPAddress
    last: int | IPAddress


@dataclass(frozen=True, slots=True)
class Stem:
    """All names that begin so: ``tun*``."""

    text: str


class Anything(Enum):
    """What every value is like."""

    ANYTHING = "*"


#: What a value may be like.
Pattern: TypeAlias = Value | bool | IPNetwork | Span | Stem | Anything


class Act(Enum):
    """What a rule does to a packet."""

    ACCEPT = "accepted"
    DROP = "dropped"
    REJECT = "rejected"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    TRANSLATE = "led elsewhere"
    MARK = "marked"
    UNTRACK = "kept from connection tracking"
    HAND_OVER = "handed to a program"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An act, and what it needs: the chain of a jump, a new destination, a mark (None: unknown)."""

    act: Act
    chain: str = ""
    address: IPAddress | None = None
    port: int | None = None
    mark: int | None = None


#: What a map gives; nothing for the elements of a set.
Data: TypeAlias = Verdict | None
Key: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Lookup:
    """The elements of a set or map: exact ones by their keys, the others one by one.

    `known` False means that nobody has told us what it holds (an ipset).
    """

    exact: dict[tuple[str | int, ...], Data] = field(default_factory=dict)
    loose: list[tuple[tuple[Pattern, ...], Data]] = field(default_factory=list)
    known: bool = True


@dataclass(frozen=True, slots=True)
class Match:
    """Whether what a packet has by `key` is among these; `mask` is applied to it before.

    Words are compared as a whole if `whole`, else one in common will do.
    """

    key: Key
    among: Lookup
    negated: bool = False
    mask: int | frozenset[str] | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """A condition that we can't judge; it may hold or not."""

    what: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A map from what a packet has to what becomes of it."""

    key: Key
    among: Lookup


Step: TypeAlias = Match | Unknown | Branch | Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions and acts in their order; `text` as its tool writes it, `handle` nft's number."""

    steps: tuple[Step, ...]
    text: str
    handle: int = 0


class Tool(Enum):
    """By what a table is listed, and by what its owner changes it."""

    NFT = "nft"
    IPTABLES = "iptables"
    LEGACY = "iptables-legacy"


@dataclass(slots=True)
class Chain:
    """Rules; a base chain is called by the kernel at its hook, in the order of priorities.

    `device` is whose packets a chain of the netdev family sees.
    """

    name: str
    hook: str = ""
    priority: int = 0
    policy: Act = Act.ACCEPT
    nat: bool = False
    device: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """Chains that know each other. `command` is what changes a table of iptables."""

    family: str
    name: str
    tool: Tool = Tool.NFT
    command: str = "nft"
    chains: dict[str, Chain] = field(default_factory=dict)

    def __str__(self) -> str:
        """As users look for it."""
        if self.tool is Tool.NFT:
            return f"{self.family} {self.name}"
        return f"{self.name} of {self.command}"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables that see packets of a network namespace."""

    tables: Sequence[Table] = ()

    def at(self, hook: str, family: str) -> list[tuple[Table, Chain]]:
        """The base chains that a packet of a family (ip or ip6) meets at a hook, in their order."""
        found = [
            (table, chain)
            for table in self.tables
            if table.family in _SEEN_BY[family]
            for chain in table.chains.values()
            if chain.hook == hook
        ]
        return sorted(found, key=lambda each: each[1].priority)


_SEEN_BY: Final[Mapping[str, Sequence[str]]] = {
    "ip": ("ip", "inet", "netdev"),
    "ip6": ("ip6", "inet", "netdev"),
}

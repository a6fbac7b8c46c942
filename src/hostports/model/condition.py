"""What on a host decides whether a published port is reached: as its tools tell it, unread."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface
from typing import TypeAlias

from hostports.model.address import Family, IPNetwork
from hostports.model.port import SocketAddress

IPInterface: TypeAlias = IPv4Interface | IPv6Interface


class OurFirewall(Enum):
    """By what our rules are made; with none, nobody forwards for us."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SavedTables:
    """What ``iptables-save`` says of a family; `command` is what changes these tables."""

    family: Family
    command: str
    text: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """An endpoint's namespace: who listens in it.

    `own` are the destinations that it takes itself, its addresses while their interfaces are up;
    `routes` those that it has a way to, in any table.
    """

    listening: Set[SocketAddress] = frozenset()
    own: tuple[IPNetwork, ...] = ()
    routes: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """The host as `doctor` finds it.

    `ours`: which firewall of ours should be there. `nft` is the ruleset as JSON, `nft_text` the
    same as text with handles. `unread`: families with tables of iptables-legacy that no tool tells
    of. `settings` are sysctls by name. `interfaces` are up, with their addresses; `uplinks` have
    default routes, best first. `listening` are sockets of the host, None if nobody tells; `inside`
    is what is in endpoints' namespaces, by their files, as far as they could be entered.
    """

    ours: OurFirewall = OurFirewall.NFTABLES
    nft: str = ""
    nft_text: str = ""
    saved: tuple[SavedTables, ...] = ()
    unread: tuple[Family, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    interfaces: Mapping[str, tuple[IPInterface, ...]] = field(default_factory=dict)
    uplinks: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    listening: Set[SocketAddress] | None = None
    inside: Mapping[str, Inside] = field(default_factory=dict)

"""The parts that a ruleset is made of."""

from dataclasses import dataclass
from typing import NamedTuple

from hostports.model.address import Family


class Rule(NamedTuple):
    """One rule: what it matches and does, and why it is there (shown as its comment)."""

    text: str
    why: str


class Chain(NamedTuple):
    """A chain and its rules; `hook` is empty for one that is jumped to."""

    name: str
    rules: tuple[Rule, ...]
    hook: str = ""


class Collection(NamedTuple):
    """A set or map; everything that grows with networks, endpoints and bindings is in one."""

    name: str
    kind: str
    type: str
    why: str
    flags: str = ""


class Element(NamedTuple):
    """One element of a collection; `value` is empty in a set."""

    collection: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one network, endpoint or binding adds to the ruleset.

    `own` are elements that nothing else can have, as they name a host port that is this binding's.
    """

    elements: tuple[Element, ...] = ()
    chains: tuple[Chain, ...] = ()
    own: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for the whole ruleset.

    `relay` is whether the userland proxy is on: it serves what DNAT can't reach. Without it
    (hairpin) the kernel turns a container's packets to its own published port round.
    `direct_routing` lets other hosts reach published ports on the containers' own addresses.
    In the families of `guard` the host was no router before us: what is not ours is dropped.
    """

    relay: bool = True
    direct_routing: bool = False
    guard: frozenset[Family] = frozenset()

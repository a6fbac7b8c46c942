"""The nft spelling of a ruleset: text for ``nft -f -``, one script a transaction (nft 1.0.2)."""

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from hostports.core.rules.data import Chain, Collection, Element, Settings
from hostports.core.rules.skeleton import LEADING, TABLE, USER_CHAIN, chains, collections, is_ours
from hostports.core.rules.state import Delta

_TABLE: Final = f"inet {TABLE}"


class TableObject(NamedTuple):
    """A chain, set or map that is in the table."""

    kind: str
    name: str


def change_script(delta: Delta) -> str:
    """The commands that make a delta of a table that is there."""
    return _joined(_changes(delta))


def protecting_script(settings: Settings, protections: Delta) -> str:
    """The commands that make all anew but what leads to ports; that stays as far as it is there.

    What is in the table nobody needs to know for it, as listing thousands of ports takes long. The
    user's chain, and what goes with it, is not touched.
    """
    return _joined(_protecting(settings, protections))


def ports_script(whole: Delta, parts: Set[str]) -> str:
    """The commands that empty and fill these collections in a table that has all else."""
    return _joined(_refilled(whole, parts))


def removal_script(present: Sequence[TableObject]) -> str:
    """The commands that remove all that is ours from the table; what is the user's stays."""
    return _joined(_emptied(present))


def emptying_script(present: Sequence[TableObject]) -> str:
    """The commands that take the rules out of chains, and elements out of sets and maps."""
    return _joined(_emptied(present, {each.name for each in present}))


def _protecting(settings: Settings, protections: Delta) -> Iterator[str]:
    static = chains(settings)
    yield f"add table {_TABLE}"
    # nft 1.0.6 sends the elements of a new interval map before new chains that they name.
    yield from map(_chain, (*static, *protections.written_chains))
    for each in collections():
        yield _collection(each)
        if each.name not in LEADING:
            yield f"flush {each.kind} {_TABLE} {each.name}"
    yield from _rules(static)
    yield from _changes(protections)


def _refilled(whole: Delta, parts: Set[str]) -> Iterator[str]:
    for each in collections():
        if each.name in parts:
            yield f"flush {each.kind} {_TABLE} {each.name}"
    yield from _elements("add", (each for each in whole.added if each.collection in parts))


def _collection(collection: Collection) -> str:
    flags = f" {collection.flags};" if collection.flags else ""
    kind, name = collection.kind, collection.name
    return f"add {kind} {_TABLE} {name} {{ type {collection.type};{flags} }}"


def _emptied(present: Sequence[TableObject], kept: Set[str] = frozenset()) -> Iterator[str]:
    """Rules name collections, and collections name chains: so they go in this order."""
    ours = [each for each in present if is_ours(each.name)]
    chains_first = sorted(ours, key=lambda each: each.kind != "chain")
    yield from (f"flush {each.kind} {_TABLE} {each.name}" for each in chains_first)
    for each in reversed(chains_first):
        if each.name not in kept:
            yield f"delete {each.kind} {_TABLE} {each.name}"


def _changes(delta: Delta) -> Iterator[str]:
    yield from _elements("delete", delta.removed)
    yield from map(_chain, delta.written_chains)
    yield from _rules(delta.written_chains)
    yield from _elements("add", delta.added)
    yield from (f"flush chain {_TABLE} {name}" for name in delta.removed_chains)
    yield from (f"delete chain {_TABLE} {name}" for name in delta.removed_chains)


def _chain(chain: Chain) -> str:
    hook = f" {{ {chain.hook}; policy accept; }}" if chain.hook else ""
    return f"add chain {_TABLE} {chain.name}{hook}"


def _rules(written: Iterable[Chain]) -> Iterator[str]:
    for chain in written:
        if chain.name != USER_CHAIN:
            yield f"flush chain {_TABLE} {chain.name}"
        for rule in chain.rules:
            yield f'add rule {_TABLE} {chain.name} {rule.text} comment "{rule.why}"'


def _elements(verb: str, elements: Iterable[Element]) -> Iterator[str]:
    """One command for each collection, however many elements it gets."""
    by_collection = attrgetter("collection")
    for name, group in groupby(sorted(elements, key=by_collection), key=by_collection):
        listed = ", ".join(_element(verb, each) for each in group)
        yield f"{verb} element {_TABLE} {name} {{ {listed} }}"


def _element(verb: str, element: Element) -> str:
    if element.value and verb == "add":
        return f"{element.key} : {element.value}"
    return element.key


def _joined(commands: Iterable[str]) -> str:
    return "".join(f"{command}\n" for command in commands)

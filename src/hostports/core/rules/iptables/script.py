"""The text for ``iptables-restore --noflush``: one for each family, each table of it at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, TypeVar

from hostports.core.rules.data import Chain, Element, Settings
from hostports.core.rules.iptables.place import OURS, USER_CHAIN, placed
from hostports.core.rules.iptables.skeleton import TABLES, Jump, chains, jumps
from hostports.core.rules.state import Delta
from hostports.model.address import Family

#: Deleting a rule by its text is a search; of so many in one chain the whole chain is written anew.
MANY: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Present:
    """What is there of us in one family: chains by their table, and jumps to them.

    `led_to` are chains that the user's own rules jump to, which can be emptied only.
    """

    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    jumps: tuple[Jump, ...] = ()
    led_to: frozenset[str] = frozenset()

    @property
    def networks(self) -> bool:
        """Whether there are chains of some network."""
        return any(name.startswith(f"{OURS}to-") for name in self.chains.get("filter", ()))


def change_script(
    of: Family,
    delta: Delta,
    left: Callable[[str], Iterable[Element]],
    led_to: Set[str] = frozenset(),
) -> str:
    """The commands that make a delta; `left` are the elements that stay in a chain.

    Chains that are `led_to` by the user's rules are emptied only.

    Each table is a transaction of its own. What comes does so by the order of tables, and what goes
    against it: so what protects a port is there before it is reached, and until it isn't any more.
    """
    removed = _by_table(of, delta.removed, lambda each: each.collection)
    added = _by_table(of, delta.added, lambda each: each.collection)
    written = _by_table(of, delta.written_chains, lambda each: each.name)
    gone = _by_table(of, delta.removed_chains, lambda each: each)
    lines: list[str] = []
    for table in TABLES:
        new = [*_declared(written[table]), *_rules(written[table]), *map(_appended, added[table])]
        lines += _transaction(table, new)
    for table in reversed(TABLES):
        less = [
            *_fewer(removed[table], added[table], set(gone[table]), left),
            *_without(map(_name, gone[table]), led_to),
        ]
        lines += _transaction(table, less)
    return _joined(lines)


def whole_script(
    of: Family,
    settings: Settings,
    whole: Delta,
    present: Present,
    tables: Set[str] = frozenset(TABLES),
) -> str:
    """The commands that make all chains of ours what they must be; the user's stays as it is."""
    wanted = [*chains(of, settings), *whole.written_chains]
    written = _by_table(of, wanted, lambda each: each.name)
    added = _by_table(of, whole.added, lambda each: each.collection)
    lines: list[str] = []
    for table in (each for each in TABLES if each in tables):
        there = present.chains.get(table, ())
        names = {_name(each.name) for each in written[table]}
        stale = [each for each in there if each not in names and each != USER_CHAIN]
        new_user = table == "filter" and USER_CHAIN not in there
        body = [
            *([f":{USER_CHAIN} - [0:0]"] if new_user else []),
            *_declared(written[table]),
            *(f"-D {each.chain} {each.rule}" for each in present.jumps if each.table == table),
            *_without(stale, present.led_to),
            *_rules(written[table]),
            *map(_appended, added[table]),
            *(f"-I {each.chain} {each.rule}" for each in jumps(of) if each.table == table),
        ]
        lines += _transaction(table, body)
    return _joined(lines)


def removal_script(present: Present, *, user: bool) -> str:
    """The commands that remove all that is ours; with `user` the user's chain, too."""
    lines: list[str] = []
    for table in TABLES:
        ours = [each for each in present.chains.get(table, ()) if user or each != USER_CHAIN]
        body = [
            *(f"-D {each.chain} {each.rule}" for each in present.jumps if each.table == table),
            *_without(ours, present.led_to),
        ]
        lines += _transaction(table, body)
    return _joined(lines)


def _without(chains: Iterable[str], led_to: Set[str]) -> Iterator[str]:
    """The end of chains: rules of one may lead to another."""
    names = list(chains)
    yield from (f"-F {each}" for each in names)
    yield from (f"-X {each}" for each in names if each not in led_to)


def _fewer(
    removed: Iterable[Element],
    added: Iterable[Element],
    gone: set[str],
    left: Callable[[str], Iterable[Element]],
) -> Iterator[str]:
    """The removal of rules; those of a chain that goes itself go with it."""
    by_chain: dict[str, list[Element]] = defaultdict(list)
    for each in removed:
        if each.collection not in gone:
            by_chain[each.collection].append(each)
    new: dict[str, dict[Element, None]] = defaultdict(dict)
    for each in added:
        new[each.collection][each] = None
    for chain, elements in by_chain.items():
        if len(elements) <= MANY:
            yield from (f"-D {_name(chain)} {each.key}" for each in elements)
        else:
            yield f"-F {_name(chain)}"
            yield from (_appended(each) for each in {**dict.fromkeys(left(chain)), **new[chain]})


def _by_table(
    of: Family, items: Iterable[T], place_of: Callable[[T], str]
) -> Mapping[str, list[T]]:
    """Those of one family, by their table, in order."""
    found: dict[str, list[T]] = {table: [] for table in TABLES}
    for each in items:
        family, table, _ = placed(place_of(each))
        if family is of:
            found[table].append(each)
    return found


def _declared(written: Iterable[Chain]) -> Iterator[str]:
    """A declared chain is made, or emptied if it is there."""
    return (f":{_name(each.name)} - [0:0]" for each in written)


def _rules(written: Iterable[Chain]) -> Iterator[str]:
    return (f"-A {_name(chain.name)} {rule.text}" for chain in written for rule in chain.rules)


def _appended(element: Element) -> str:
    return f"-A {_name(element.collection)} {element.key}"


def _name(of: str) -> str:
    return placed(of)[2]


def _transaction(table: str, body: list[str]) -> list[str]:
    return [f"*{table}", *body, "COMMIT"] if body else []


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

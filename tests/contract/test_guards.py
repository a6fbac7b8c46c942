"""One suite for whoever remembers in which families the host was no router."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostports.interfaces import Guards
from hostports.linux.guard import UnrecordedGuards
from hostports.model.address import Family
from hostports.store.guards import SqliteGuards
from hostports.store.sqlite import SqliteStore

BOTH = frozenset(Family)


@pytest.fixture(params=["unrecorded", "sqlite"])
def guards(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guards]:
    makers: dict[str, Callable[[SqliteStore], Guards]] = {
        "unrecorded": lambda _: UnrecordedGuards(),
        "sqlite": lambda store: SqliteGuards(store, "boot", 1),
    }
    with SqliteStore(tmp_path / "state.sqlite3") as store:
        yield makers[request.param](store)


def test_a_family_once_added_is_remembered_whatever_is_seen_later(guards: Guards) -> None:
    assert guards.add(frozenset()) == frozenset()
    assert guards.add({Family.IPV4}) == {Family.IPV4}
    assert guards.add(BOTH) == BOTH
    assert guards.add(frozenset()) == BOTH


def test_nothing_is_remembered_of_a_family_that_was_forgotten(guards: Guards) -> None:
    guards.add(BOTH)
    guards.remove({Family.IPV4})
    guards.remove({Family.IPV4})
    assert guards.add(frozenset()) == {Family.IPV6}
    guards.remove(BOTH)
    assert guards.add(frozenset()) == frozenset()


def test_the_record_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with SqliteStore(path) as store:
        SqliteGuards(store, "boot", 1).add(BOTH)
    with SqliteStore(path) as store:
        assert SqliteGuards(store, "boot", 1).add(frozenset()) == BOTH


def test_another_namespace_and_another_boot_are_other_hosts(tmp_path: Path) -> None:
    """What was switched on in them is not on here, or it was somebody else."""
    with ExitStack() as stack:
        store = stack.enter_context(SqliteStore(tmp_path / "state.sqlite3"))
        SqliteGuards(store, "boot", 1).add(BOTH)
        other = SqliteGuards(store, "boot", 2)
        assert other.add(frozenset()) == frozenset()
        other.add({Family.IPV4})
        other.remove(BOTH)
        assert SqliteGuards(store, "boot", 1).add(frozenset()) == BOTH
        assert SqliteGuards(store, "next boot", 1).add(frozenset()) == frozenset()

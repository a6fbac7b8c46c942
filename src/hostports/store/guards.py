"""Which families are guarded, in the record: rules go with whoever flushes them."""

from collections.abc import Set
from typing import Final

from hostports.model.address import Family
from hostports.store.sqlite import SqliteStore

#: What an earlier boot switched on is off, or somebody else's wish.
_FORGET_FORMER: Final = "DELETE FROM guards WHERE boot != ?"
_ADD: Final = "INSERT INTO guards (boot, namespace, family) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_ALL: Final = "SELECT family FROM guards WHERE boot = ? AND namespace = ?"
_REMOVE: Final = "DELETE FROM guards WHERE boot = ? AND namespace = ? AND family = ?"


class SqliteGuards:
    """`Guards` of one network namespace, by its inode number, for the length of a boot."""

    def __init__(self, store: SqliteStore, boot: str, namespace: int) -> None:
        self._store = store
        self._lifetime = boot, namespace

    def add(self, families: Set[Family]) -> frozenset[Family]:
        """Record these, too; all that are recorded."""
        boot, _ = self._lifetime
        with self._store.writing() as db:
            db.execute(_FORGET_FORMER, (boot,))
            db.executemany(_ADD, [(*self._lifetime, of.value) for of in families])
            return frozenset(Family(of) for (of,) in db.execute(_ALL, self._lifetime))

    def remove(self, families: Set[Family]) -> None:
        """Strike these out."""
        with self._store.writing() as db:
            db.executemany(_REMOVE, [(*self._lifetime, of.value) for of in families])

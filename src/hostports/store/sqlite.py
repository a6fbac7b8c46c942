"""The record in one file of SQLite's."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from shlex import quote
from threading import Lock
from typing import Final, Self, TypeVar

from hostports.core.rows import (
    COLUMNS,
    ENDPOINT_COLUMNS,
    FOLLOWING_COLUMNS,
    NETWORK_COLUMNS,
    Row,
    endpoint_from_row,
    endpoint_to_row,
    following_from_row,
    following_to_row,
    from_row,
    network_from_row,
    network_to_row,
    to_row,
)
from hostports.errors import StoreFailed, UnusableValue
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelayProcess
from hostports.model.state import Recorded, State
from hostports.store.migrations import MIGRATIONS, keep_copy, migrate, refuse_strangers
from hostports.store.ownership import owned
from hostports.store.refusals import told
from hostports.store.transaction import committed

#: How long somebody who looks into the file, or edits it, may keep a call waiting.
BUSY_TIMEOUT_S: Final = 5.0

T = TypeVar("T")


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join("?" * len(columns))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of our own
        " ON CONFLICT DO NOTHING"
    )


_BINDING_COLUMNS: Final = (*COLUMNS, "created", "interface")

_ADD_NETWORK: Final = _insert("networks", NETWORK_COLUMNS)
_ADD_ENDPOINT: Final = _insert("endpoints", ENDPOINT_COLUMNS)
_ADD_BINDING: Final = _insert("bindings", _BINDING_COLUMNS)
_ADD_FOLLOWING: Final = _insert("followings", FOLLOWING_COLUMNS)
_REMOVE_NETWORK: Final = "DELETE FROM networks WHERE name = ?"
_REMOVE_ENDPOINT: Final = "DELETE FROM endpoints WHERE name = ?"
# IS takes NULL for a value.
_REMOVE_BINDING: Final = (
    f"DELETE FROM bindings WHERE {' AND '.join(f'{name} IS ?' for name in COLUMNS)}"  # noqa: S608 - names of our own
)
_REMOVE_FOLLOWING: Final = (
    f"DELETE FROM followings WHERE {' AND '.join(f'{name} IS ?' for name in FOLLOWING_COLUMNS)}"  # noqa: S608 - names of our own
)

#: How many former ports are remembered: those of many generations, but not of all.
MOST_FORMER_PORTS: Final = 1 << 16
_REMEMBER: Final = (
    "INSERT OR REPLACE INTO former_ports (endpoint, protocol, container_port, host_port)"
    " VALUES (?, ?, ?, ?)"
)
_FORGET: Final = (
    "DELETE FROM former_ports WHERE position <= (SELECT max(position) FROM former_ports) - ?"
)
_FORMER: Final = "SELECT protocol, container_port, host_port FROM former_ports WHERE endpoint = ?"


class SqliteStore:
    """`StateStore` on one file, which only one process at a time may use, from any thread.

    The file, and its directory where missing, are for its owner only. A file of an earlier schema
    is brought to the newest; a copy stays beside it, as ``state.sqlite3.before-v2``. Raises
    `StoreFailed` if it can't be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Sequence[str] = MIGRATIONS,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        # By its one real name: a link to it must not lead to another lock.
        self._path = Path(os.path.realpath(path))
        self._lock = Lock()
        with told(self._path), ExitStack() as opened:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened.enter_context(owned(self._path))
            self._db = _connected(self._path, busy_timeout_s)
            opened.callback(self._db.close)
            refuse_strangers(self._db, self._path, len(migrations))
            _protect(self._db, self._path)
            migrate(self._db, self._path, migrations)
            self._inode = _inode(self._path)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let others use the file; a second time has no effect."""
        with self._lock, told(self._path):
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> State:
        """What was recorded. Names the row of a file edited by hand that no longer makes sense."""
        with self._reading():
            networks = {
                each.name: each
                for each in self._values("networks", NETWORK_COLUMNS, network_from_row)
            }
            endpoint_of = partial(endpoint_from_row, networks=networks)
            endpoints = {
                each.name: each for each in self._values("endpoints", ENDPOINT_COLUMNS, endpoint_of)
            }
            binding_of = partial(_published, endpoints=endpoints)
            bindings = dict(self._values("bindings", _BINDING_COLUMNS, binding_of))
            following_of = partial(_following, endpoints=endpoints)
            followings = tuple(self._values("followings", FOLLOWING_COLUMNS, following_of))
        return State(networks, endpoints, bindings, followings)

    def record(
        self,
        added: Sequence[Recorded] = (),
        removed: Sequence[Recorded] = (),
        *,
        at: datetime,
    ) -> None:
        """Add and remove in one transaction; networks and endpoints go by their names."""
        created = at.astimezone(UTC).isoformat()
        with self.writing() as db:
            db.executemany(_REMOVE_BINDING, map(to_row, _only(PortBinding, removed)))
            db.executemany(_REMEMBER, _former(_only(PortBinding, removed)))
            db.execute(_FORGET, (MOST_FORMER_PORTS,))
            db.executemany(_REMOVE_FOLLOWING, map(following_to_row, _only(Following, removed)))
            db.executemany(_REMOVE_ENDPOINT, [(each.name,) for each in _only(Endpoint, removed)])
            db.executemany(
                _REMOVE_NETWORK, [(each.name,) for each in _only(BridgeNetwork, removed)]
            )
            db.executemany(_ADD_NETWORK, map(network_to_row, _only(BridgeNetwork, added)))
            db.executemany(_ADD_ENDPOINT, map(endpoint_to_row, _only(Endpoint, added)))
            db.executemany(
                _ADD_BINDING,
                ((*to_row(each), created, each.interface) for each in _only(PortBinding, added)),
            )
            db.executemany(_ADD_FOLLOWING, map(following_to_row, _only(Following, added)))

    def former(self, endpoint: str) -> dict[tuple[Protocol, int], int]:
        """The host ports that an endpoint's container ports had last."""
        with self._reading() as db:
            return {
                (Protocol(protocol), container_port): host_port
                for protocol, container_port, host_port in db.execute(_FORMER, (endpoint,))
            }

    def relay(self) -> RelayProcess | None:
        """The relay that was recorded last."""
        with self._reading() as db:
            found = db.execute("SELECT pid, started, path FROM relay").fetchone()
            return RelayProcess(*found) if found else None

    def record_relay(self, relay: RelayProcess) -> None:
        """Record the one relay that is to be known."""
        with self.writing() as db:
            db.execute("DELETE FROM relay")
            row = (relay.pid, relay.started, relay.path)
            db.execute("INSERT INTO relay (pid, started, path) VALUES (?, ?, ?)", row)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The block sees one state of the record."""
        with self._lock, told(self._path), committed(self._db):
            self._db.execute("BEGIN")
            yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The block is one transaction, whole or not at all. Raises `StoreFailed`."""
        with self._lock, told(self._path):
            if _inode(self._path) != self._inode:
                raise self._lost()
            with committed(self._db):
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db

    def _lost(self) -> StoreFailed:
        """The refusal to write where nobody would find it again; what there was is kept."""
        kept = self._path.with_name(f"{self._path.name}.kept")
        keep_copy(self._db, kept)
        return StoreFailed(
            f"{self._path} was deleted, or another file put in its place, while it was in use",
            f"move {kept}, which has all of it, to that name, and restart the daemon",
        )

    def _values(self, table: str, columns: Sequence[str], of: Callable[[Row], T]) -> Iterator[T]:
        """What the rows of a table mean, the oldest first."""
        before = 0
        try:
            for position, *row in self._db.execute(
                f"SELECT position, {', '.join(columns)} FROM {table} ORDER BY position"  # noqa: S608 - names of our own
            ):
                yield of(row)
                before = position
        except (ValueError, TypeError, OverflowError, UnusableValue) as error:
            raise self._meaningless(table, before, error) from error
        except sqlite3.OperationalError as error:
            # SQLite's own errors have a code; a text that isn't UTF-8 is Python's to find.
            if hasattr(error, "sqlite_errorcode"):
                raise
            raise self._meaningless(table, before, error) from error

    def _meaningless(self, table: str, before: int, error: Exception) -> StoreFailed:
        """The refusal of the row that comes next after a position."""
        after = f"SELECT min(position) FROM {table} WHERE position > ?"  # noqa: S608 - names of our own
        (position,) = self._db.execute(after, (before,)).fetchone()
        reason = error.message if isinstance(error, UnusableValue) else " ".join(str(error).split())
        delete = f"PRAGMA foreign_keys = ON; DELETE FROM {table} WHERE position = {position}"  # noqa: S608 - to be read
        return StoreFailed(
            f"{self._path}: row {position} of table {table} means nothing: {reason}",
            f'mend it, or remove it: sqlite3 {quote(str(self._path))} "{delete}"',
        )


def _connected(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    # SQLite would make it for everybody to read; what it puts beside it later has the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )


def _inode(path: Path) -> int:
    """Which file has the name; 0 if none has."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _protect(db: sqlite3.Connection, path: Path) -> None:
    """Keep the file from others' eyes, and its transactions whole."""
    path.chmod(0o600)
    db.execute("PRAGMA journal_mode = WAL")
    # What is committed is in the kernel's page cache, so it outlives a killed daemon. Only if the
    # power goes, the last transactions may be missing (never parts of one): then the sockets, rules
    # and containers that they speak of are gone, too. FULL would wait for the disk at each call.
    db.execute("PRAGMA synchronous = NORMAL")


def _only(kind: type[T], items: Sequence[Recorded]) -> Iterator[T]:
    return (each for each in items if isinstance(each, kind))


def _former(bindings: Iterable[PortBinding]) -> Iterator[Row]:
    for each in bindings:
        if not each.routed:
            yield each.endpoint, each.protocol.value, each.container_port, each.host_port


def _published(row: Row, endpoints: Mapping[str, Endpoint]) -> tuple[PortBinding, datetime]:
    *columns, created, interface = row
    binding = from_row(columns)
    if interface:
        binding = replace(binding, interface=str(interface))
    endpoint = endpoints.get(binding.endpoint)
    if endpoint is None or endpoint.network.name != binding.network:
        raise ValueError(f"there is no endpoint {binding.endpoint!r} on {binding.network!r}")
    return binding, _time(created)


def _following(row: Row, endpoints: Mapping[str, Endpoint]) -> Following:
    following = following_from_row(row)
    if following.endpoint not in endpoints:
        raise ValueError(f"there is no endpoint {following.endpoint!r}")
    return following


# What a call published has one time.
@lru_cache(1024)
def _time(written: object) -> datetime:
    if not isinstance(written, str):
        raise TypeError(f"{written!r} is no time")
    time = datetime.fromisoformat(written)
    if time.tzinfo is None:
        raise ValueError(f"{written!r} has no time zone")
    return time.astimezone(UTC)

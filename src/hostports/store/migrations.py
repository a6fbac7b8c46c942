"""The schema as numbered migrations; the file says in its user_version how many it has had."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from hostports.errors import StoreFailed
from hostports.store.refusals import told
from hostports.store.transaction import committed

#: What somebody may have a file of is never changed: the next schema is one more migration. Each
#: runs in a transaction, with foreign keys off, so that it may make a table anew; they are checked
#: at its end. `position` keeps the order in which things were added.
MIGRATIONS: Final = (
    """
    CREATE TABLE networks (
        position INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        gateway_mode_ipv4 TEXT NOT NULL,
        gateway_mode_ipv6 TEXT NOT NULL,
        bridge TEXT NOT NULL,
        subnet_ipv4 TEXT,
        subnet_ipv6 TEXT,
        internal INTEGER NOT NULL,
        icc INTEGER NOT NULL,
        masquerade INTEGER NOT NULL,
        host_ipv4 TEXT,
        host_ipv6 TEXT,
        trusted_host_interfaces TEXT NOT NULL,
        existing INTEGER NOT NULL
    );

    CREATE TABLE endpoints (
        position INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL REFERENCES networks (name) ON DELETE CASCADE,
        ipv4 TEXT,
        ipv6 TEXT,
        namespace TEXT NOT NULL,
        UNIQUE (network, name)
    );

    CREATE TABLE bindings (
        position INTEGER PRIMARY KEY,
        network TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        protocol TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        container_ip TEXT NOT NULL,
        container_port INTEGER NOT NULL,
        child_ip TEXT,
        child_port INTEGER,
        port_driver_id INTEGER,
        mode TEXT NOT NULL,
        allow_from TEXT NOT NULL,
        proxy_protocol TEXT,
        created TEXT NOT NULL,
        FOREIGN KEY (network, endpoint) REFERENCES endpoints (network, name) ON DELETE CASCADE
    );

    -- A binding is there once. Rows with a NULL would never be the same to a unique index.
    CREATE UNIQUE INDEX bindings_once ON bindings (
        network,
        endpoint,
        protocol,
        host_ip,
        host_port,
        container_ip,
        container_port,
        mode,
        allow_from,
        ifnull(child_ip, ''),
        ifnull(child_port, -1),
        ifnull(port_driver_id, -1),
        ifnull(proxy_protocol, '')
    );
    """,
    """
    -- The host ports that endpoints had last: they get them again where any will do.
    CREATE TABLE former_ports (
        position INTEGER PRIMARY KEY,
        endpoint TEXT NOT NULL,
        protocol TEXT NOT NULL,
        container_port INTEGER NOT NULL,
        host_port INTEGER NOT NULL,
        UNIQUE (endpoint, protocol, container_port)
    );

    ALTER TABLE networks ADD COLUMN ports_only INTEGER NOT NULL DEFAULT 0;

    -- RootlessKit's forwardings go by their parent address; numbers change with every restart.
    DROP INDEX bindings_once;
    ALTER TABLE bindings DROP COLUMN port_driver_id;
    CREATE UNIQUE INDEX bindings_once ON bindings (
        network,
        endpoint,
        protocol,
        host_ip,
        host_port,
        container_ip,
        container_port,
        mode,
        allow_from,
        ifnull(child_ip, ''),
        ifnull(child_port, -1),
        ifnull(proxy_protocol, '')
    );
    """,
    """
    -- The interface whose addresses a binding follows, or nothing.
    ALTER TABLE bindings ADD COLUMN interface TEXT NOT NULL DEFAULT '';

    -- What outlives an interface's addresses: host ports that are published on each it ever gets.
    CREATE TABLE followings (
        position INTEGER PRIMARY KEY,
        endpoint TEXT NOT NULL REFERENCES endpoints (name) ON DELETE CASCADE,
        interface TEXT NOT NULL,
        protocol TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        container_port INTEGER NOT NULL,
        mode TEXT NOT NULL,
        allow_from TEXT NOT NULL,
        proxy_protocol TEXT
    );

    CREATE UNIQUE INDEX followings_once ON followings (
        endpoint,
        interface,
        protocol,
        host_port,
        container_port,
        mode,
        allow_from,
        ifnull(proxy_protocol, '')
    );
    """,
    """
    -- The relay that serves, or has served last.
    CREATE TABLE relay (pid INTEGER NOT NULL, started INTEGER NOT NULL, path TEXT NOT NULL);

    -- In which families a network namespace was no router before us, in which boot of the host.
    CREATE TABLE guards (
        boot TEXT NOT NULL,
        namespace INTEGER NOT NULL,
        family INTEGER NOT NULL,
        UNIQUE (boot, namespace, family)
    );
    """,
)

#: "host": whose file it is (https://sqlite.org/pragma.html#pragma_application_id).
_APPLICATION: Final = int.from_bytes(b"host")


def refuse_strangers(db: sqlite3.Connection, path: Path, newest: int) -> None:
    """Raise `StoreFailed` for a file of another program, or of a newer version of ours."""
    version = _version(db)
    if _pragma(db, "application_id") != _APPLICATION and not _empty(db):
        raise StoreFailed(f"{path} is the database of another program", "give another --state")
    if version > newest:
        before = _copy_path(path, newest + 1)
        raise StoreFailed(
            f"{path} is of a newer hostports: its schema is {version}, ours {newest}",
            f"install that one, or put {before} in its place"
            if before.exists()
            else "install that one, or give another --state",
        )


def migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """Bring a file to the newest schema, and keep a copy of what it was before each step.

    Raises `StoreFailed`; then the file is as it was before the step that failed.
    """
    new, version = _empty(db), _version(db)
    for number, script in enumerate(migrations[version:], version + 1):
        if not new:
            keep_copy(db, _copy_path(path, number))
        with told(path, f"be brought to schema {number}", "use the hostports that wrote it"):
            _apply(db, number, script)


def _apply(db: sqlite3.Connection, number: int, script: str) -> None:
    with committed(db):
        # executescript would commit a transaction that is open already.
        db.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n;"
            f"PRAGMA application_id = {_APPLICATION};\nPRAGMA user_version = {number};"
        )
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
            raise sqlite3.IntegrityError(f"row {row} of {table} belongs to nothing in {parent}")


def keep_copy(db: sqlite3.Connection, copy: Path) -> None:
    """Write all of a database to a file for its owner only, or raise `StoreFailed`."""
    with told(copy, "be written"):
        try:
            os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            with closing(sqlite3.connect(copy)) as target:
                db.backup(target)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise


def _copy_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.before-v{number}")


def _version(db: sqlite3.Connection) -> int:
    return _pragma(db, "user_version")


def _empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)

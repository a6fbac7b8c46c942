"""A transaction as a block."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def committed(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that the block begins, or roll it back if the block raises."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # On a full disk, for one, SQLite has rolled back already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise

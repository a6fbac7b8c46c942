"""One daemon a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostports.errors import StoreFailed
from hostports.lockfile import Locked, lock


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Be the only one to use a file. Raises `StoreFailed` if another process does, or `OSError`.

    SQLite's own exclusive mode would keep out those that only look, too. The lock is on a file
    beside it: closing any descriptor of the database would drop SQLite's locks (fcntl(2)).
    """
    try:
        descriptor = lock(path.with_name(f"{path.name}.lock"))
    except Locked as locked:
        raise StoreFailed(
            f"another daemon{locked.holder} uses {path}",
            "stop it or give this one another --state",
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)

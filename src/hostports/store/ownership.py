"""One daemon a file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostports.errors import StoreFailed


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Be the only one to use a file. Raises `StoreFailed` if another process does, or `OSError`.

    SQLite's own exclusive mode would keep out those that only look, too. The lock is on a file
    beside it: closing any descriptor of the database would drop SQLite's locks (fcntl(2)). It ends
    with the process, however that ends; the file stays, as removing it would race with the next.
    """
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            raise StoreFailed(
                f"another daemon{pid and f' (pid {pid})'} uses {path}",
                "stop it or give this one another --state",
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(lock)

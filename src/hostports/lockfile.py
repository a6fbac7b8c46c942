"""Lock files (flock(2)): one process at a time, and those that are refused learn which."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Locked(Exception):
    """Another process has the lock; `holder` is it, as `` (pid 812)``, or empty while it begins."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def lock(path: Path) -> int:
    """Lock a file, which is made if it isn't there, for as long as the descriptor is open.

    It ends with the process, however that ends. Raises `Locked`, or `OSError`.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Locked(f" (pid {pid})" if pid else "") from None
        if _is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still there: who had the lock before may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False

"""Lock files (flock(2)): one process at a time, and those that are refused learn which."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Bytes of a number and of a path, which is what notes are.
_LONGEST: Final = 20 + 4096


class Locked(Exception):
    """Another process has the lock; `holder` is it, as `` (pid 812)``, or empty while it begins.

    `note` is what it has to say.
    """

    def __init__(self, holder: str, note: str) -> None:
        super().__init__(holder, note)
        self.holder = holder
        self.note = note


def lock(path: Path, note: str = "") -> int:
    """Lock a file, which is made if it isn't there, for as long as the descriptor is open.

    It ends with the process, however that ends; those that are refused are told a `note`. Raises
    `Locked`, or `OSError`.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            locked = _told(descriptor)
            os.close(descriptor)
            raise locked from None
        if _is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n{note}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def last_locked(path: Path) -> Locked:
    """Who had a lock on a file last, and may have it still. Raises `OSError`.

    To try the lock could keep it from somebody who wants it at that moment.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _told(descriptor)
    finally:
        os.close(descriptor)


def _told(descriptor: int) -> Locked:
    pid, _, note = os.pread(descriptor, _LONGEST, 0).decode(errors="replace").partition("\n")
    return Locked(f" (pid {pid})" if pid else "", note.removesuffix("\n"))


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still there: who had the lock before may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False

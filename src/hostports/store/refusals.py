"""What SQLite and the file system refuse, as `StoreFailed` in one line with a mend."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from hostports.errors import StoreFailed


class _Why(NamedTuple):
    """What is wrong, and what to do about it."""

    wrong: str
    mend: str


_NOT_WRITABLE: Final = _Why("nothing may be written there", "allow it, or give another --state")
_NO_ROOM: Final = _Why("no space is left on its disk", "make room there")
_NO_DATABASE: Final = _Why("it is no database", "move it away, or give another --state")
_DAMAGED: Final = _Why("it is damaged", "put a copy in its place, or move it away")
_LOCKED: Final = _Why("another program keeps it locked", "close that one")
_BAD_DISK: Final = _Why("its disk fails", "check the disk, or give another --state")

#: By SQLite's result codes (https://sqlite.org/rescode.html), an extended one or its primary one.
_BY_CODE: Final = {
    # What it says if there is no room for what it shares with those that look into the file.
    sqlite3.SQLITE_IOERR_SHMSIZE: _NO_ROOM,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: _NO_ROOM,
    sqlite3.SQLITE_IOERR: _BAD_DISK,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_NOTADB: _NO_DATABASE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
}
_PRIMARY: Final = 0xFF
_BY_ERRNO: Final = {
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EROFS: _NOT_WRITABLE,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EIO: _BAD_DISK,
}


@contextmanager
def told(
    path: Path, refused: str = "be used", mend: str = "give another --state"
) -> Iterator[None]:
    """Raise `StoreFailed` for what goes wrong with a file; `mend` is for the rare causes."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise StoreFailed(
                "no endpoint is recorded without its network, and no port without its endpoint",
                "add that first",
            ) from error
        why = _BY_CODE.get(code) or _BY_CODE.get(code & _PRIMARY)
        raise _failed(path, refused, str(error), why, mend) from error
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror}"
        why = _BY_ERRNO.get(error.errno or 0)
        raise _failed(path, refused, reason, why, mend) from error
    except (UnicodeEncodeError, OverflowError) as error:
        raise StoreFailed(f"{path} has no place for a value: {error}", "write another") from error


def _failed(path: Path, refused: str, reason: str, why: _Why | None, mend: str) -> StoreFailed:
    reason = " ".join(reason.split())
    if why is None:
        return StoreFailed(f"{path} can't {refused}: {reason}", mend)
    return StoreFailed(f"{path} can't {refused}: {why.wrong} ({reason})", why.mend)

"""Unix stream sockets that listen at a path (unix(7))."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path


def listening_at(path: Path, mode: int) -> socket.socket:
    """Listen at a path, which only those whom `mode` lets write may connect to.

    A socket that nobody listens on any more, as a killed process leaves it, is replaced. Raises
    `OSError`: EADDRINUSE if somebody listens there.
    """
    made = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        # Between bind(2) and a later chmod(2) anybody could connect.
        before = os.umask(0o777 & ~mode)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def _remove_stale(path: Path) -> None:
    # connect(2) refuses a regular file with ECONNREFUSED, too: that one is not ours to remove.
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "something that is no socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            with suppress(FileNotFoundError):
                path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "somebody listens there already")

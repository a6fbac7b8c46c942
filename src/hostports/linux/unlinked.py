"""The Unix socket on which another process listens, reached though its path is gone."""

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from typing import Final

_syscall: Final = ctypes.CDLL(None, use_errno=True).syscall
#: Its number wherever Linux runs, but on Alpha.
_PIDFD_GETFD: Final = 438
_SIOCUNIXFILE: Final = 0x89E0


@contextmanager
def reached(pid: int) -> Iterator[Path]:
    """A path for connect(2) to the first Unix socket on which a process listens.

    The socket is copied (pidfd_getfd(2)), and the kernel opens the file that it is bound to, also
    one that was removed (SIOCUNIXFILE). Raises `OSError`, as if it listens on none.
    """
    file = _file_of(pid)
    try:
        yield Path(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def _file_of(pid: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        for each in _sockets(pid, pidfd):
            with each:
                listens = each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if each.family == socket.AF_UNIX and listens:
                    return ioctl(each, _SIOCUNIXFILE)
    finally:
        os.close(pidfd)
    raise OSError(errno.ENOTCONN, "it listens on no Unix socket")


def _sockets(pid: int, pidfd: int) -> Iterator[socket.socket]:
    folder = Path(f"/proc/{pid}/fd")
    for number in sorted(int(each.name) for each in folder.iterdir()):
        with suppress(FileNotFoundError):  # it is closed meanwhile
            if (folder / str(number)).readlink().name.startswith("socket:"):
                yield socket.socket(fileno=_copied(pidfd, number))


def _copied(pidfd: int, number: int) -> int:
    descriptor: int = _syscall(_PIDFD_GETFD, pidfd, number, 0)
    if descriptor < 0:
        reason = ctypes.get_errno()
        raise OSError(errno.ENOENT if reason == errno.EBADF else reason, os.strerror(reason))
    return descriptor

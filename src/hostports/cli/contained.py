"""A command in a network namespace of its own."""

import ctypes
import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NoReturn

from hostports.cli.output import printable
from hostports.cli.signals import Signals, blocked, end_with_parent
from hostports.errors import HostportsError, NotPermitted

#: <linux/sched.h>; os.unshare came with Python 3.12.
_CLONE_NEWNET: Final = 0x40000000
#: As shells say that a command was found but can't run, was not found, or was ended by a signal.
_CANNOT_RUN: Final = 126
_NOT_FOUND: Final = 127
_BY_SIGNAL: Final = 128


class Contained:
    """A child in a new network namespace that waits until it may become its command.

    It has our terminal and stays in our process group, and is ended if we are killed. Leaving the
    context manager ends a child that still waits.
    """

    def __init__(self, pid: int, go: int) -> None:
        self.pid = pid
        self._go = go
        self._ended = False

    def __enter__(self) -> "Contained":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if not self._ended:
            self.wait()

    def go(self) -> None:
        """Let it become its command."""
        with suppress(BrokenPipeError):  # somebody has killed it meanwhile
            os.write(self._go, b"\1")
        self._close()

    def wait(self) -> int:
        """Its exit status, when it has ended, as a shell has it in ``$?``."""
        _, status = os.waitpid(self.pid, 0)
        self._ended = True
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else _BY_SIGNAL - code

    def _close(self) -> None:
        if self._go >= 0:
            os.close(self._go)
            self._go = -1


def contain(cmd: Sequence[str], signals: Signals) -> Contained:
    """Start a child for a command. Raises `NotPermitted` if it may not have a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    told, tell = os.pipe()
    may_go, go = os.pipe()
    with blocked():
        pid = os.fork()
        if not pid:
            signals.in_child()
    if not pid:
        os.close(go)  # our end, or the parent's death would not be seen
        _become(cmd, libc, tell, may_go)
    os.close(tell)
    os.close(may_go)
    child = Contained(pid, go)
    try:
        _raise_what(os.read(told, 1))
    except BaseException:
        with child:
            raise
    finally:
        os.close(told)
    return child


def _become(cmd: Sequence[str], libc: ctypes.CDLL, tell: int, may_go: int) -> NoReturn:
    """In the child: leave our namespace, wait, and be the command; never return."""
    try:
        end_with_parent()  # and who has died before doesn't let us go
        failed = ctypes.get_errno() if libc.unshare(_CLONE_NEWNET) else 0
        os.write(tell, bytes([failed]))
        if not failed and os.read(may_go, 1):
            if not cmd[0]:  # execvp(3) says so, Python something else
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            os.execvp(cmd[0], list(cmd))  # noqa: S606 - the user's own command
    except OSError as error:
        sentence = f"hostports: {printable(cmd[0])}: {(error.strerror or str(error)).lower()}\n"
        os.write(2, sentence.encode(errors="backslashreplace"))
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        os._exit(_NOT_FOUND if missing else _CANNOT_RUN)
    finally:
        os._exit(_CANNOT_RUN)


def _raise_what(told: bytes) -> None:
    """Raise what the child said of its namespace; nothing if it was killed before."""
    if not told:
        raise HostportsError("the command's process ended before it began")
    if told[0]:
        reason = os.strerror(told[0]).lower()
        error = NotPermitted if told[0] in (errno.EPERM, errno.EACCES) else HostportsError
        raise error(f"a network namespace can't be made: {reason}", "run as root")

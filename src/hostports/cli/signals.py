"""Signals while `run` prepares, runs and takes down."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Final

#: From a terminal, which sends them to the command as well.
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
_FROM_ELSEWHERE: Final = (signal.SIGTERM, signal.SIGHUP)
#: Ignored by Python itself, which no other program expects.
_OF_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
#: <linux/prctl.h>: a signal for when the parent dies, whatever it dies of.
_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Let the kernel end this process, and what it becomes, by SIGTERM when its parent dies.

    A parent that has died before is not noticed.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Terminated(Exception):
    """A signal says that it is time to go."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """A context manager in which signals end nothing half done.

    At first they raise `Terminated`. While a command runs, those of the terminal are its own, and
    others are forwarded to it. At the end nothing disturbs.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, object] = {}
        self._deferring = False
        self._deferred = 0
        self._child = 0

    def __enter__(self) -> "Signals":
        for number in (*_FROM_TERMINAL, *_FROM_ELSEWHERE):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # nohup(1), or a shell's background job
                self._before[number] = before
                signal.signal(number, self._received)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what getsignal gave

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a step and the note how to undo it belong together; a second signal is obeyed."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._deferred:
            raise Terminated(self._deferred)

    def forward_to(self, child: int) -> None:
        """From now on a command runs."""
        self._child = child
        for number in _FROM_TERMINAL:
            signal.signal(number, signal.SIG_IGN)

    def hold(self) -> None:
        """From now on only taking down matters."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def in_child(self) -> None:
        """Leave to a forked child what we found, without Python's own habits."""
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        for number in _OF_PYTHON:
            signal.signal(number, signal.SIG_DFL)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, number)
        elif self._deferring and not self._deferred:
            self._deferred = number
        else:
            raise Terminated(number)


@contextmanager
def blocked() -> Iterator[None]:
    """Let no signal be handled between fork(2) and the child's own arrangements."""
    numbers = (*_FROM_TERMINAL, *_FROM_ELSEWHERE)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Pipes for splice(2): bytes that go from socket to socket without entering the process."""

import fcntl
import os
from contextlib import suppress
from typing import Final

#: Bytes a pipe holds; an unprivileged user may have 64 MiB of them (pipe(7)).
PIPE_SIZE: Final = 1 << 18
#: Empty pipes kept for the next bulk transfer.
_KEPT: Final = 32

Pipe = tuple[int, int]


class Pipes:
    """A pool of empty pipes."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def take(self) -> Pipe | None:
        """An empty pipe, as reading and writing end; None if no descriptor is free."""
        if self._idle:
            return self._idle.pop()
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with suppress(OSError):  # above the user's limit it stays small, which is but slower
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return pipe

    def give(self, pipe: Pipe, *, empty: bool) -> None:
        """Give one back; what is left in it is lost."""
        if empty and len(self._idle) < _KEPT:
            self._idle.append(pipe)
        else:
            for end in pipe:
                os.close(end)

    def clear(self) -> None:
        """Close all that nobody uses, when descriptors are short."""
        while self._idle:
            self.give(self._idle.pop(), empty=False)

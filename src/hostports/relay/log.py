"""What the relay tells its operator: lines on standard error, with a level for journald."""

import os
import select
from contextlib import suppress
from typing import Final

from hostports.relay.poller import Poller

_STDERR: Final = 2
#: Seconds in which one subject's lines are counted instead of repeated.
_QUIET_S: Final = 60.0
#: The prefix of a warning (sd-daemon(3)).
_WARNING: Final = "<4>"
#: Subjects remembered; more than these, and the oldest is told of anew.
_MOST: Final = 10_000


class Log:
    """Warns, about one subject once a minute at most."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._last: dict[tuple[str, str], float] = {}

    def warn(self, subject: str, text: str) -> None:
        """Write ``subject: text`` unless that has just been said."""
        key = (subject, text)
        now = self._poller.now
        if now - self._last.get(key, -_QUIET_S) < _QUIET_S:
            return
        self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > _MOST:
            self._last.pop(next(iter(self._last)))
        _write(f"{_WARNING}{subject}: {text}\n".encode())


def _write(line: bytes) -> None:
    """Nobody may read any more, or not fast enough; traffic goes on, and the line is lost."""
    writable = select.poll()
    writable.register(_STDERR, select.POLLOUT)
    with suppress(OSError):
        if writable.poll(0):
            os.write(_STDERR, line)

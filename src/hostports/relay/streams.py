"""What all TCP and SCTP connections of the process share: its limits, pipes and patience."""

import errno
import os
from contextlib import suppress
from typing import Final, Protocol

from hostports.model.relay import RelaySettings
from hostports.relay.calls import Calls
from hostports.relay.log import Log
from hostports.relay.pipes import Pipes
from hostports.relay.poller import Poller

#: No descriptors are left, in the process or on the host; or no memory for one.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Seconds until descriptors are asked for again when none of ours was closed meanwhile.
_RETRY_S: Final = 0.2
#: Seconds between looks at those who are still connecting.
_LOOK_S: Final = 1.0


class Waiting(Protocol):
    """A listener that has stopped to accept until there is room."""

    def resume(self) -> None:
        """Accept again."""
        ...


class Connecting(Protocol):
    """A connection whose container has not answered yet."""

    def give_up(self) -> None:
        """The container had time enough."""
        ...


class Streams:
    """Room for connections, and those who wait for it.

    One descriptor is kept in reserve: with a client accepted and no descriptor left to dial its
    container, the reserve is spent on it, and nobody is accepted until it is there again.
    """

    def __init__(self, poller: Poller, calls: Calls, log: Log, settings: RelaySettings) -> None:
        self.poller = poller
        self.calls = calls
        self.log = log
        self.settings = settings
        self.pipes = Pipes()
        self._open = 0
        self._waiting: dict[Waiting, None] = {}
        self._connecting: dict[Connecting, float] = {}
        self._reserve: int | None = None
        self._retrying = False
        self._looking = False

    def full(self) -> str:
        """Why no connection can be accepted now; empty if one can."""
        limit = self.settings.connections
        if limit and self._open >= limit:
            return f"{limit} connections are open, the relay's limit; new ones wait"
        if self._reserve is None and not self._restock():
            return "the limit of open files is reached; new connections wait"
        return ""

    def dial(self, family: int, protocol: int) -> int:
        """A socket towards a container, if need be by the reserve; below 0 an errno."""
        descriptor = self.calls.dial(family, protocol)
        if -descriptor in EXHAUSTED:
            self.make_room()
            descriptor = self.calls.dial(family, protocol)
        return descriptor

    def make_room(self) -> None:
        """Close what can be missed, as descriptors are short."""
        self.pipes.clear()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def opened(self) -> None:
        """Count a connection."""
        self._open += 1

    def closed(self, listener: Waiting) -> None:
        """Count one less; if its listener waits, it gets the place, else the first who does."""
        self._open -= 1
        if self._waiting:
            if listener in self._waiting:
                self._waiting = {listener: None, **self._waiting}
            self.poller.call_in(0, self._resume_one)

    def wait(self, listener: Waiting) -> None:
        """Resume a listener when there is room."""
        self._waiting[listener] = None
        if not self._retrying:
            self._retrying = True
            self.poller.call_in(_RETRY_S, self._retry)

    def forget(self, listener: Waiting) -> None:
        """Resume a listener no more."""
        self._waiting.pop(listener, None)

    def connecting(self, connection: Connecting) -> None:
        """Let a connection give up when its container doesn't answer in time."""
        if not self._looking:
            self._looking = True
            self.poller.call_in(_LOOK_S, self._look_at_connecting)
        self._connecting[connection] = self.poller.now + self.settings.connect_timeout_s

    def answered(self, connection: Connecting) -> None:
        """The container has answered, or nobody waits for it any more."""
        self._connecting.pop(connection, None)

    def _look_at_connecting(self) -> None:
        now = self.poller.now
        late = [each for each, deadline in self._connecting.items() if deadline <= now]
        for each in late:
            each.give_up()
        self._looking = bool(self._connecting)
        if self._looking:
            self.poller.call_in(_LOOK_S, self._look_at_connecting)

    def _restock(self) -> bool:
        with suppress(OSError):
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return self._reserve is not None

    def _retry(self) -> None:
        self._retrying = False
        self._resume_one()
        if self._waiting and not self._retrying:
            self._retrying = True
            self.poller.call_in(_RETRY_S, self._retry)

    def _resume_one(self) -> None:
        if self._waiting:
            listener = next(iter(self._waiting))
            del self._waiting[listener]
            listener.resume()

"""The relay's event loop: epoll(7), edge-triggered for connections, else level-triggered."""

import heapq
import os
import select
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Final, Protocol

#: Events taken at once.
_BATCH: Final = 512
#: Seconds to wait at most; epoll_wait(2) takes no more than 24 days.
_LONGEST_S: Final = 86_400.0


class Handler(Protocol):
    """Whoever waits for a descriptor."""

    def ready(self, events: int) -> None:
        """Act on events of epoll(7); raises nothing."""
        ...


class Continued(Protocol):
    """Whoever has more to do than one turn allows."""

    def go_on(self) -> None:
        """Take another turn; raises nothing."""
        ...


class Poller:
    """Tells handlers of events, gives turns, and calls at times; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.now = monotonic()
        #: Whether more than one event came at once.
        self.busy = False
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._again: dict[Continued, None] = {}
        self._closing: list[int] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._stopped = False

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Tell a handler of a descriptor's events until it is closed or forgotten."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def hand_over(self, descriptor: int, handler: Handler) -> None:
        """Tell another handler from now on."""
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Wait for it no more; needed before `close` only if others have a copy of it, too."""
        if self._handlers.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor once no event that names it can be on its way any more.

        Were it closed at once, a connection accepted meanwhile could get its number and its events.
        """
        self._handlers.pop(descriptor, None)
        self._closing.append(descriptor)

    def again(self, continued: Continued) -> None:
        """Give another turn after all others had theirs."""
        self._again[continued] = None

    def call_in(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once, that much later."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._number), callback))

    def stop(self) -> None:
        """Let `run` return after this round."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        while not self._stopped:
            self.turn(self._patience())

    def turn(self, seconds: float) -> None:
        """One round: wait at most some seconds (-1 means without end), then serve what is due."""
        events = self._epoll.poll(seconds, _BATCH)
        self.now = monotonic()
        self.busy = len(events) > 1
        handlers = self._handlers
        for descriptor, event in events:
            handler = handlers.get(descriptor)
            if handler is not None:
                handler.ready(event)
        if self._again:
            waiting, self._again = self._again, {}
            for continued in waiting:
                continued.go_on()
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        if self._closing:
            for descriptor in self._closing:
                os.close(descriptor)
            self._closing.clear()

    def _patience(self) -> float:
        if self._again:
            return 0
        if self._timers:
            return min(max(0.0, self._timers[0][0] - monotonic()), _LONGEST_S)
        return -1

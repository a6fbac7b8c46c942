"""Parts of the relay within the test's own process: turned by hand, in a time made by hand.

So a test can put its own system calls in, and let minutes pass at once.
"""

import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostports.relay.poller import Poller
from tests.netns.namespaces import namespace
from tests.relay.proc import Process
from tests.relay.waiting import eventually

#: Addresses of one namespace's loopback.
HOST, CONTAINER = "192.0.2.10", "192.0.2.20"


class HandTurned(Poller):
    """A poller whose time stands still unless a test lets it pass."""

    def __init__(self) -> None:
        self._time = 1000.0
        super().__init__()

    @property
    def now(self) -> float:
        """Seconds."""
        return self._time

    @now.setter
    def now(self, clock: float) -> None:
        """What the clock says is of no interest."""

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass, and what is due happen."""
        self._time += seconds
        self.turn(0)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Take turns until a condition holds."""

        def held_after_a_turn() -> object:
            self.turn(0)
            return condition()

        eventually(held_after_a_turn, what)

    def rest(self) -> None:
        """Take more turns than anything that is under way needs."""
        for _ in range(10):
            self.turn(0.001)

    def receive(self, peer: socket.socket, size: int = 1 << 16) -> bytes:
        """What a peer gets next."""
        self.until(lambda: _readable(peer), "something to read")
        return peer.recv(size)


def _readable(peer: socket.socket) -> bool:
    ready, _, _ = select.select([peer], [], [], 0)
    return bool(ready)


@contextmanager
def one_host() -> Iterator[HandTurned]:
    """A poller in a namespace that has all addresses; nothing it watched may be left open."""
    with namespace([f"{HOST}/24", f"{CONTAINER}/24"]) as host, host.entered():
        poller = HandTurned()
        before = own_descriptors()
        yield poller
        poller.turn(0)
        left = own_descriptors() - before
        assert not left, f"still open: {left}"


def own_descriptors() -> Counter[str]:
    """How many open descriptors of each kind this process has."""
    return Process(os.getpid()).descriptors()

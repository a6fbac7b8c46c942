"""UDP sessions: which clients the relay has a socket for, until they fall silent or make room."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

Session = TypeVar("Session")

#: Seconds without a datagram either way after which a session ends (docker-proxy's).
UDP_SESSION_IDLE_S: Final = 90.0


class SessionTable(Generic[Session]):
    """At most `limit` sessions by client, the one idle longest first; limit 0 means no limit.

    `now` is monotonic, in seconds, and never goes back from call to call.
    """

    __slots__ = ("_last_active", "_limit", "_sessions")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sessions: dict[Hashable, Session] = {}
        # An ordered one: dict finds its first key in a time that grows with what was moved.
        self._last_active: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, key: Hashable, session: Session, now: float) -> Session | None:
        """Keep a client's session; the caller closes the one that goes for it, if any.

        That is the client's earlier one, else, in a full table, the one idle longest.
        """
        gone = self.remove(key)
        if gone is None and 0 < self._limit <= len(self._sessions):
            gone = self._pop_oldest()
        self._sessions[key] = session
        self._last_active[key] = now
        return gone

    def get(self, key: Hashable) -> Session | None:
        """A client's session; asking is no activity."""
        return self._sessions.get(key)

    def touch(self, key: Hashable, now: float) -> None:
        """A datagram passed, either way; no effect where the session is gone."""
        if key in self._last_active:
            self._last_active[key] = now
            self._last_active.move_to_end(key)

    def remove(self, key: Hashable) -> Session | None:
        """Take a client's session out and return it, if there is one."""
        self._last_active.pop(key, None)
        return self._sessions.pop(key, None)

    def expire(self, now: float) -> list[Session]:
        """Take out the sessions that are idle for `UDP_SESSION_IDLE_S`, idle longest first."""
        gone: list[Session] = []
        while (due := self.next_expiry()) is not None and due <= now:
            gone.append(self._pop_oldest())
        return gone

    def next_expiry(self) -> float | None:
        """When the next session expires if it stays silent; None without sessions."""
        for last_active in self._last_active.values():
            return last_active + UDP_SESSION_IDLE_S
        return None

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """The sessions, idle longest first."""
        return map(self._sessions.__getitem__, self._last_active)

    def _pop_oldest(self) -> Session:
        key, _ = self._last_active.popitem(last=False)
        return self._sessions.pop(key)

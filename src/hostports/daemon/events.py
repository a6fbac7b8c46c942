"""Who watches what happens: everybody gets every event, or is hung up on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from hostports.model.event import Event

#: Events that wait for a slow watcher before it is hung up on: it could have missed some.
_MOST_WAITING: Final = 1000


class EventBus:
    """Passes events on; used on the event loop's thread only."""

    def __init__(self) -> None:
        self._watchers: dict[asyncio.Queue[Event | None], None] = {}

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def publish(self, event: Event) -> None:
        """Tell all who watch."""
        for watcher in tuple(self._watchers):
            if watcher.qsize() < _MOST_WAITING:
                watcher.put_nowait(event)
            else:
                self._hang_up(watcher)

    def close(self) -> None:
        """Nothing more will happen."""
        for watcher in tuple(self._watchers):
            self._hang_up(watcher)

    def watch(self) -> AsyncIterator[Event]:
        """All events from now on, until the bus is closed or the watcher is too slow."""
        watcher: asyncio.Queue[Event | None] = asyncio.Queue()
        self._watchers[watcher] = None
        return self._events(watcher)

    async def _events(self, watcher: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await watcher.get()) is not None:
                yield event
        finally:
            self._watchers.pop(watcher, None)

    def _hang_up(self, watcher: asyncio.Queue[Event | None]) -> None:
        self._watchers.pop(watcher, None)
        watcher.put_nowait(None)

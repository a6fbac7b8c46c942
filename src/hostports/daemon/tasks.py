"""What is done beside serving."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from hostports.errors import HostportsError

log: Final = logging.getLogger("hostports")
#: Seconds between looks at what is told of as it happens, in case that something went unseen.
LOOK_S: Final = 60.0
#: Seconds until what failed is tried again.
RETRY_S: Final = 1.0


async def happens(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until something happens, or so many seconds.

    Until Python 3.12, asyncio.wait_for forgets that it was cancelled if its time has come.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Tasks:
    """Work that nobody waits for; what goes wrong with it is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin, in the running event loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def cancel(self) -> None:
        """End all that still runs, and wait for that."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            unexpected = None if isinstance(error, HostportsError) else error
            log.error("failed: %s", error, exc_info=unexpected)

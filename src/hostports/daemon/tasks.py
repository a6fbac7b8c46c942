"""What is done beside serving."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from hostports.errors import HostportsError

log: Final = logging.getLogger("hostports")


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

"""Addresses of followed interfaces come and go, and published ports with them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hostports.daemon.service import RegistryService
from hostports.daemon.tasks import LOOK_S, RETRY_S, Tasks, happens
from hostports.interfaces import Watch
from hostports.model.event import Happening


class Follower:
    """Follows as long as it runs: at first, when something is told, and now and then."""

    def __init__(
        self, service: RegistryService, addresses: Watch[str], look_s: float = LOOK_S
    ) -> None:
        self._service = service
        self._addresses = addresses
        self._look_s = look_s
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Never ends by itself."""
        loop, tasks = asyncio.get_running_loop(), Tasks()
        loop.add_reader(self._addresses.fileno(), self._read)
        tasks.start(self._notice_unpublished())
        try:
            while True:
                self._changed.clear()
                complete = await self._service.follow()
                await happens(self._changed, self._look_s if complete else RETRY_S)
        finally:
            loop.remove_reader(self._addresses.fileno())
            await tasks.cancel()

    def _read(self) -> None:
        if self._addresses.read():
            self._changed.set()

    async def _notice_unpublished(self) -> None:
        """What was asked for otherwise, too, is now only the interface's."""
        async for event in self._service.events():
            if event.what is Happening.PORTS_UNPUBLISHED:
                self._changed.set()


@asynccontextmanager
async def following(service: RegistryService, addresses: Watch[str]) -> AsyncIterator[None]:
    """Follow interfaces for the length of a block."""
    tasks = Tasks()
    tasks.start(Follower(service, addresses).run())
    try:
        yield
    finally:
        await tasks.cancel()

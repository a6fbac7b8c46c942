"""Addresses of followed interfaces come and go, and published ports with them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from hostports.daemon.service import RegistryService
from hostports.daemon.tasks import Tasks
from hostports.errors import HostportsError
from hostports.interfaces import Watch

log: Final = logging.getLogger("hostports")
#: Seconds between looks at the addresses, in case that a change went unseen.
LOOK_S: Final = 60.0
#: Seconds until what failed is tried again.
_RETRY_S: Final = 1.0


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
        loop = asyncio.get_running_loop()
        loop.add_reader(self._addresses.fileno(), self._read)
        try:
            while True:
                self._changed.clear()
                patience = await self._look()
                # Until Python 3.12, wait_for forgets that it was cancelled if its time has come.
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._changed.wait()
        finally:
            loop.remove_reader(self._addresses.fileno())

    def _read(self) -> None:
        if self._addresses.read():
            self._changed.set()

    async def _look(self) -> float:
        """Have looked; for how many seconds nobody needs to look again, if nothing is told."""
        try:
            await self._service.follow()
        except HostportsError as error:
            log.warning("ports don't follow their interfaces yet: %s", error)
            return _RETRY_S
        return self._look_s


@asynccontextmanager
async def following(service: RegistryService, addresses: Watch[str]) -> AsyncIterator[None]:
    """Follow interfaces for the length of a block."""
    tasks = Tasks()
    tasks.start(Follower(service, addresses).run())
    try:
        yield
    finally:
        await tasks.cancel()

"""Where there is firewalld, our bridges are in a zone of it, whenever it or they are made anew."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from hostports.daemon.service import RegistryService
from hostports.daemon.tasks import RETRY_S, Tasks
from hostports.errors import FirewallFailed
from hostports.linux.firewalld import Firewalld
from hostports.model.event import Happening

log: Final = logging.getLogger("hostports")
#: Seconds until firewalld is asked again when it has refused: it may have to load all rules for it.
_AGAIN_S: Final = 5.0
_BRIDGES_CHANGED: Final = frozenset(
    {Happening.NETWORK_CREATED, Happening.NETWORK_REMOVED, Happening.LINKS_RESTORED}
)


class Zones:
    """Keeps bridges in firewalld's zone as long as it runs; `look` is told when it has reloaded."""

    def __init__(self, service: RegistryService, look: Callable[[str], None]) -> None:
        self._service = service
        self._look = look
        self._due = asyncio.Event()
        self._firewalld: Firewalld | None = None
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._tasks.start(self._listen())
        self._tasks.start(self._connected())

    async def stop(self, *, remove: bool) -> None:
        """End; `remove` takes what is ours out of firewalld."""
        await self._tasks.cancel()
        if remove:
            await self._remove()
        if self._firewalld is not None:
            self._firewalld.close()

    async def _remove(self) -> None:
        """Also if this life was too short to connect."""
        try:
            if self._firewalld is None:
                made = Firewalld(self._changed)
                await made.connect()
                self._firewalld = made
            if await self._firewalld.ours():
                await self._firewalld.remove(self._bridges())
        except FirewallFailed as error:
            log.info("nothing is removed from firewalld: %s", error)

    def _bridges(self) -> list[str]:
        return [each.bridge for each in self._service.registry.networks()]

    async def _listen(self) -> None:
        async for event in self._service.events():
            if event.what in _BRIDGES_CHANGED:
                self._due.set()

    def _changed(self, what: str) -> None:
        self._look(what)
        self._due.set()

    async def _connected(self) -> None:
        """Again and again: a bus may restart, too."""
        while True:
            firewalld = Firewalld(self._changed)
            try:
                await firewalld.connect()
                self._firewalld = firewalld
                await self._attend(firewalld)
            except FirewallFailed as error:
                log.debug("no firewalld: %s", error)
            self._firewalld = None
            await asyncio.sleep(RETRY_S)

    async def _attend(self, firewalld: Firewalld) -> None:
        """Until the bus goes, bring the zone up to date whenever that is due."""
        ended = asyncio.ensure_future(firewalld.ended())
        self._due.set()
        try:
            while not ended.done():
                due = asyncio.ensure_future(self._due.wait())
                await asyncio.wait({ended, due}, return_when=asyncio.FIRST_COMPLETED)
                due.cancel()
                if self._due.is_set() and not ended.done():
                    self._due.clear()
                    await self._bring_up_to_date(firewalld)
        finally:
            ended.cancel()

    async def _bring_up_to_date(self, firewalld: Firewalld) -> None:
        try:
            if not await firewalld.ours():
                self._service.strict_forward_ports = False
                return
            await firewalld.put(self._bridges())
            strict = await firewalld.strict()
        except FirewallFailed as error:
            log.warning("bridges are not in firewalld's zone yet: %s", error)
            self._tasks.start(self._due_again())
            return
        if strict and not self._service.strict_forward_ports:
            log.warning("firewalld is strict about forwarded ports; see `hostports doctor`")
        self._service.strict_forward_ports = strict

    async def _due_again(self) -> None:
        await asyncio.sleep(_AGAIN_S)
        self._due.set()

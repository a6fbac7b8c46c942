"""Ports that are lost are tried again: now and then, and when something has changed."""

import logging
from time import monotonic
from typing import Final

from hostports.daemon.service import RegistryService
from hostports.daemon.tasks import happens
from hostports.errors import HostportsError
from hostports.model.event import Happening

log: Final = logging.getLogger("hostports")
#: Seconds between two tries; nobody tells us when another process gives up its port.
PAUSE_S: Final = 5.0
#: Trying takes at most one in so many seconds.
_SHARE: Final = 50


class Regainer:
    """Tries as long as it runs, which takes nothing while no port is lost."""

    def __init__(self, service: RegistryService, pause_s: float = PAUSE_S) -> None:
        self._service = service
        self._pause_s = pause_s

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            took = await self._try() if self._service.registry.lost else 0.0
            await self._pause(max(self._pause_s, took * _SHARE))

    async def _pause(self, seconds: float) -> None:
        """What changes may make a port free, and only what changes makes one lost."""
        changed = self._service.changed
        changed.clear()
        await happens(changed, seconds if self._service.registry.lost else None)

    async def _try(self) -> float:
        """Publish what can be had again; the seconds that it took."""
        start = monotonic()
        try:
            regained = await self._service.change(self._service.registry.regain)
        except HostportsError as error:
            log.warning("lost ports can't be had again yet: %s", error)
            regained = []
        if regained:
            log.info("published again: %s", ", ".join(map(str, regained)))
            self._service.tell_ports(Happening.PORTS_REGAINED, regained)
        return monotonic() - start

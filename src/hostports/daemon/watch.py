"""What others change is seen, and made good: rules, bridges and cables."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from hostports.core.healing import Healing
from hostports.daemon.config import Config, FirewallChoice
from hostports.daemon.service import RegistryService
from hostports.daemon.tasks import LOOK_S, RETRY_S, Tasks
from hostports.engine.heal import heal_links
from hostports.errors import HostportsError
from hostports.interfaces import Watch
from hostports.model.event import Happening
from hostports.model.firewall import Damage

if TYPE_CHECKING:
    from hostports.daemon.zones import Zones

log: Final = logging.getLogger("hostports")
#: A look takes at most one hundredth of the time.
_LOOK_SHARE: Final = 100
#: The system bus, by default and by name.
_BUS_SOCKET: Final = Path("/run/dbus/system_bus_socket")
_BUS_ADDRESS: Final = "DBUS_SYSTEM_BUS_ADDRESS"


class Watcher:
    """Heals as long as it runs; `rules` and `links` tell of changes where they can be watched.

    Healing is a change like any other: one at a time, off the event loop.
    """

    def __init__(
        self,
        service: RegistryService,
        rules: Watch[Damage] | None,
        links: Watch[str] | None,
        healing: Healing | None = None,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._service = service
        self._watches: dict[Watch[Any], Callable[[Sequence[Any]], None]] = {}
        if rules is not None:
            self._watches[rules] = self._rules_changed
        if links is not None:
            self._watches[links] = self._links_changed
        self._healing = healing or Healing()
        self._look_s = look_s
        self._found: Damage | None = None
        self._healer: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to watch, in the running event loop."""
        loop = asyncio.get_running_loop()
        for watch, seen in self._watches.items():
            loop.add_reader(watch.fileno(), partial(self._read, watch, seen))
        self._tasks.start(self._look_now_and_then())

    async def stop(self) -> None:
        """Watch no longer; what is still to be healed is healed now."""
        loop = asyncio.get_running_loop()
        for watch in self._watches:
            loop.remove_reader(watch.fileno())
        await self._tasks.cancel()
        if self._found:
            try:
                await self._service.change(self._service.registry.reload)
            except HostportsError as error:
                log.warning("rules are not made anew any more: %s", error)

    def look(self, why: str) -> None:
        """Somebody may have made all rules anew: see whether ours are there."""
        log.info("%s, so our rules are looked at", why)
        self._tasks.start(self._look())

    def _read(self, watch: Watch[Any], seen: Callable[[Sequence[Any]], None]) -> None:
        if found := watch.read():
            seen(found)

    def _rules_changed(self, found: Sequence[Damage]) -> None:
        for each in found:
            self._found = self._found + each if self._found else each
        if not self._mending:
            self._healer = self._tasks.start(self._heal_rules())

    @property
    def _mending(self) -> bool:
        return self._healer is not None and not self._healer.done()

    async def _heal_rules(self) -> None:
        """At once, then again for what came meanwhile, ever less often if that doesn't end."""
        while self._found:
            if wait := self._healing.wait(monotonic()):
                await asyncio.sleep(wait)
            found, self._found = self._found, None
            try:
                await self._service.change(partial(self._service.registry.reload, found.parts))
            except HostportsError as error:
                log.warning("the rules can't be made anew yet: %s", error)
                self._found = found + self._found if self._found else found
                await asyncio.sleep(RETRY_S)
                continue
            if self._healing.healed(monotonic()):
                log.error("somebody changes our rules again and again: they come back less often")
            # Looking at very many flows may take seconds, for which no rule has to wait.
            self._tasks.start(self._finish(found))

    async def _finish(self, found: Damage) -> None:
        """What began meanwhile is to meet the rules; then they are whole, and that is told."""
        await self._forget_strays()
        said = "; ".join(found.said)
        log.warning("rules made anew: %s", said)
        self._service.tell(Happening.FIREWALL_REBUILT, message=said)

    async def _forget_strays(self) -> None:
        try:
            strays = await self._service.forget_strays()
        except HostportsError as error:
            log.warning("flows that began without rules may go on: %s", error)
            return
        if strays:
            log.info("flows forgotten that began without rules: %d", strays)

    def _links_changed(self, damaged: Sequence[str]) -> None:
        self._tasks.start(self._heal_links(damaged))

    async def _heal_links(self, damaged: Sequence[str]) -> None:
        if await self._restore_links(damaged):
            # Mostly a container that has ended, and is about to be removed.
            await asyncio.sleep(RETRY_S)
            for failure in await self._restore_links(damaged):
                log.info("not attached any more: %s", failure)

    async def _restore_links(self, damaged: Sequence[str]) -> Sequence[HostportsError]:
        """Make again what has gone, and tell; what went wrong."""
        work = partial(heal_links, self._service.registry, damaged)
        made, failures = await self._service.change(work)
        if made:
            said = f"restored, after somebody removed or changed it: {', '.join(made)}"
            log.warning("%s", said)
            self._service.tell(Happening.LINKS_RESTORED, message=said)
        return failures

    async def _look_now_and_then(self) -> None:
        """Changes that nobody told of; counting is enough for that."""
        while True:
            began = monotonic()
            await self._look()
            took = monotonic() - began
            await asyncio.sleep(max(self._look_s, took * _LOOK_SHARE))

    async def _look(self) -> None:
        try:
            damage = await self._settled_damage()
        except HostportsError as error:
            log.warning("the rules can't be looked at: %s", error)
            return
        if damage:
            self._rules_changed([Damage((f"found by looking: {', '.join(damage)}",))])

    async def _settled_damage(self) -> Sequence[str]:
        """What is to be found when nothing is being healed, which may be what was found."""
        while True:
            if self._healer is not None:
                await asyncio.wait([self._healer])
            before = self._healer
            damage = await asyncio.to_thread(self._service.registry.edges.firewall.damage)
            if not damage or before is self._healer:
                return damage


@asynccontextmanager
async def watching(
    service: RegistryService, watches: tuple[Watch[Damage] | None, Watch[str]], config: Config
) -> AsyncIterator[None]:
    """Heal what others change, and keep firewalld up to date, for the length of a block."""
    watcher = Watcher(service, *watches)
    zones = _zones(service, watcher) if config.firewall is not FirewallChoice.NONE else None
    watcher.start()
    if zones:
        zones.start()
    try:
        yield
    finally:
        if zones:
            await zones.stop(remove=config.down_on_exit)
        await watcher.stop()


def _zones(service: RegistryService, watcher: Watcher) -> "Zones | None":
    """What speaks D-Bus is imported only where somebody would answer."""
    if _BUS_ADDRESS not in os.environ and not _BUS_SOCKET.exists():
        return None
    from hostports.daemon.zones import Zones  # noqa: PLC0415 - see above

    return Zones(service, watcher.look)

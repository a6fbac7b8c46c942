"""firewalld, by D-Bus: our bridges in a zone of their own, and word when it has been reloaded.

As moby 28.5 does it with a zone ``docker`` and a policy ``docker-forwarding``: the zone accepts
what comes from containers, the policy what goes to them, so that our rules alone decide.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Final

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, InvalidAddressError

from hostports.errors import FirewallFailed

log: Final = logging.getLogger("hostports")

ZONE: Final = "hostports"
POLICY: Final = "hostports-forward"

_NAME: Final = "org.fedoraproject.FirewallD1"
_PATH: Final = "/org/fedoraproject/FirewallD1"
_CONFIG_PATH: Final = f"{_PATH}/config"
#: Seconds for an answer, as is customary on D-Bus; a reload takes some of them.
_PATIENCE_S: Final = 25.0
_BUS: Final = "org.freedesktop.DBus"
_BUS_PATH: Final = "/org/freedesktop/DBus"
_ZONE: Final = {
    "version": Variant("s", "1.0"),
    "description": Variant("s", "bridges of hostports"),
    "target": Variant("s", "ACCEPT"),
}
_POLICY: Final = {
    "version": Variant("s", "1.0"),
    "description": Variant("s", "to bridges of hostports, whose own rules decide"),
    "ingress_zones": Variant("as", ["ANY"]),
    "egress_zones": Variant("as", [ZONE]),
    "target": Variant("s", "ACCEPT"),
}


class Refused(FirewallFailed):
    """firewalld, or the bus, answered with an error; `code` is firewalld's word for it."""

    def __init__(self, member: str, name: str, text: str) -> None:
        super().__init__(f"firewalld refuses {member}: {text or name}")
        self.code = text.partition(":")[0]


class Firewalld:
    """firewalld on one connection to a system bus; `changed` is called after it (re)loaded.

    Nothing is done to a firewalld of another network namespace: it guards another host.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._bus = MessageBus(bus_type=BusType.SYSTEM)
        self._put: set[str] = set()

    async def connect(self) -> None:
        """Connect, and listen. Raises `FirewallFailed`."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._bus.connect()
        except (
            OSError,
            EOFError,
            ValueError,
            TimeoutError,
            AuthError,
            InvalidAddressError,
        ) as error:
            raise FirewallFailed(f"the system bus can't be reached: {error}") from error
        self._bus.add_message_handler(self._heard)
        for rule in (
            f"type='signal',sender='{_NAME}',interface='{_NAME}',member='Reloaded'",
            f"type='signal',sender='{_BUS}',member='NameOwnerChanged',arg0='{_NAME}'",
        ):
            await self._call_bus("AddMatch", "s", [rule])

    async def ended(self) -> None:
        """Wait until the connection has ended, as that of a bus that restarts does."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError) as error:
            log.info("the system bus has gone: %s", error)

    def close(self) -> None:
        """Hang up."""
        self._bus.disconnect()

    def _heard(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "Reloaded" and message.interface == _NAME:
            self._changed("firewalld was reloaded")
        elif message.member == "NameOwnerChanged" and message.body[0] == _NAME:
            self._changed("firewalld has " + ("started" if message.body[2] else "ended"))

    async def ours(self) -> bool:
        """Whether firewalld runs, and in our network namespace."""
        if not (await self._call_bus("NameHasOwner", "s", [_NAME]))[0]:
            return False
        (pid,) = await self._call_bus("GetConnectionUnixProcessID", "s", [_NAME])
        try:
            return Path(f"/proc/{pid}/ns/net").samefile("/proc/self/ns/net")
        except OSError:
            return False

    async def strict(self) -> bool:
        """Whether it drops what others than itself have DNATed (``StrictForwardPorts=yes``).

        The setting is there since firewalld 2.3.
        """
        asked = [f"{_NAME}.config", "StrictForwardPorts"]
        try:
            (found,) = await self._call(
                "org.freedesktop.DBus.Properties.Get", "ss", asked, path=_CONFIG_PATH
            )
        except Refused:
            return False
        return bool(found.value == "yes")

    async def put(self, bridges: Collection[str]) -> None:
        """Let these bridges, and no others that we have put there, be in our zone.

        A bridge that somebody has put into another zone stays in that. Raises `Refused`.
        """
        if bridges:
            await self._make_zone()
        there = await self._interfaces()
        for bridge in set(bridges).difference(there):
            await self._unless(
                ("ZONE_ALREADY_SET", "ZONE_CONFLICT"),
                self._call(f"{_NAME}.zone.addInterface", "ss", [ZONE, bridge]),
            )
        for bridge in self._put.intersection(there).difference(bridges):
            await self._unless(
                ("UNKNOWN_INTERFACE",),
                self._call(f"{_NAME}.zone.removeInterface", "ss", [ZONE, bridge]),
            )
        self._put = set(bridges)

    async def _interfaces(self) -> list[str]:
        """What is in our zone; nothing where there is none."""
        if not await self._zone_there():
            return []
        (there,) = await self._call(f"{_NAME}.zone.getInterfaces", "s", [ZONE])
        return list(there)

    async def _zone_there(self) -> bool:
        (zones,) = await self._call(f"{_NAME}.zone.getZones", "", [])
        return ZONE in zones

    async def _make_zone(self) -> None:
        """Zones are made in the permanent configuration only, and are there after a reload."""
        if await self._zone_there():
            return
        for member, name, settings in (
            ("addZone2", ZONE, _ZONE),
            ("addPolicy", POLICY, _POLICY),
        ):
            await self._unless(
                ("NAME_CONFLICT",),
                self._call(f"{_NAME}.config.{member}", "sa{sv}", [name, settings], _CONFIG_PATH),
            )
        await self._call(f"{_NAME}.reload", "", [])

    async def remove(self, bridges: Collection[str]) -> None:
        """Take bridges out of our zone; if that is empty then, it goes, and the policy, too."""
        self._put.update(bridges)
        await self.put(())
        if not await self._zone_there() or await self._interfaces():
            return
        for kind, name in (("policy", POLICY), ("zone", ZONE)):
            member = f"{_NAME}.config.get{kind.capitalize()}ByName"
            (path,) = await self._call(member, "s", [name], _CONFIG_PATH)
            await self._call(f"{_NAME}.config.{kind}.remove", "", [], path)
        await self._call(f"{_NAME}.reload", "", [])

    async def _unless(self, codes: Collection[str], asked: Awaitable[object]) -> None:
        try:
            await asked
        except Refused as refusal:
            if refusal.code not in codes:
                raise

    async def _call_bus(self, member: str, signature: str, body: list[Any]) -> list[Any]:
        return await self._call(f"{_BUS}.{member}", signature, body, _BUS_PATH, _BUS)

    async def _call(
        self,
        method: str,
        signature: str,
        body: list[Any],
        path: str = _PATH,
        destination: str = _NAME,
    ) -> list[Any]:
        """What a method gives, by its interface and name. Raises `Refused`."""
        interface, _, member = method.rpartition(".")
        asked = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
        )
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await self._bus.call(asked)
        except (OSError, EOFError, TimeoutError) as error:
            raise Refused(member, "no answer", str(error)) from error
        if answer is None or answer.message_type is MessageType.ERROR:
            said = [] if answer is None else answer.body
            name = "no answer" if answer is None else str(answer.error_name)
            raise Refused(member, name, str(said[0]) if said else "")
        return list(answer.body)

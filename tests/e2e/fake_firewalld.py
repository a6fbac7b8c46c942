"""What newer versions of firewalld than Debian's say, as a process on a bus of a test's own.

Zones are kept as dictionaries, and nothing is done about packets. ``StrictForwardPorts`` is yes.
With ``busy`` as an argument it refuses the first zone that is added.
"""

import asyncio
import sys
from typing import Annotated, TypeAlias

from dbus_fast import BusType, DBusError, ErrorType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusDict, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from tests.e2e.bus import FIREWALLD, PATH

DBusStrings: TypeAlias = Annotated[list[str], DBusSignature("as")]


class Main(ServiceInterface):
    """Reloading."""

    def __init__(self) -> None:
        super().__init__(FIREWALLD)

    @dbus_method()
    def reload(self) -> None:
        self.Reloaded()

    @dbus_signal()
    def Reloaded(self) -> None:  # noqa: N802 - firewalld's name
        """All is as configured."""


class Zone(ServiceInterface):
    """Zones, and the interfaces in them."""

    def __init__(self) -> None:
        super().__init__(f"{FIREWALLD}.zone")
        self.zones: dict[str, list[str]] = {"public": []}

    @dbus_method()
    def getZones(self) -> DBusStrings:  # noqa: N802 - firewalld's name
        return list(self.zones)

    @dbus_method()
    def getInterfaces(self, zone: DBusStr) -> DBusStrings:  # noqa: N802 - firewalld's name
        return self.zones[zone]

    @dbus_method()
    def addInterface(self, zone: DBusStr, interface: DBusStr) -> DBusStr:  # noqa: N802 - firewalld's name
        self.zones[zone].append(interface)
        return zone

    @dbus_method()
    def removeInterface(self, zone: DBusStr, interface: DBusStr) -> DBusStr:  # noqa: N802 - firewalld's name
        self.zones[zone].remove(interface)
        return zone


class Config(ServiceInterface):
    """The permanent configuration."""

    def __init__(self, zone: Zone) -> None:
        super().__init__(f"{FIREWALLD}.config")
        self._zone = zone
        self._busy = "busy" in sys.argv

    @dbus_property(access=PropertyAccess.READ)
    def StrictForwardPorts(self) -> DBusStr:  # noqa: N802 - firewalld's name
        return "yes"

    @dbus_method()
    def addZone2(self, name: DBusStr, settings: DBusDict) -> DBusObjectPath:  # noqa: ARG002, N802 - firewalld's name
        if self._busy:
            self._busy = False
            raise DBusError(ErrorType.FAILED, "COMMAND_FAILED: busy")
        self._zone.zones[name] = []
        return f"{PATH}/config/zone/1"

    @dbus_method()
    def addPolicy(self, name: DBusStr, settings: DBusDict) -> DBusObjectPath:  # noqa: ARG002, N802 - firewalld's name
        return f"{PATH}/config/policy/1"


async def main() -> None:
    """Serve until ended."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    zone = Zone()
    bus.export(PATH, Main())
    bus.export(PATH, zone)
    bus.export(f"{PATH}/config", Config(zone))
    await bus.request_name(FIREWALLD)
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    asyncio.run(main())

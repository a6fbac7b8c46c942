"""A system bus of a test's own, and firewalld on it: Debian's, or one that only speaks like it."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from tests.e2e.site import Daemon, Site, leftovers, wired
from tests.netns.namespaces import Namespace
from tests.relay.waiting import PATIENCE_S, eventually

#: Where `make test` has unpacked Debian's packages.
UNPACKED: Final = Path(sys.prefix) / "firewalld"
FIREWALLD: Final = "org.fedoraproject.FirewallD1"
PATH: Final = "/org/fedoraproject/FirewallD1"
_BACKEND: Final = "FirewallBackend=nftables\n"
_CONFIGURATION: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration
 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig>
<type>system</type><listen>{address}</listen><policy context="default"><allow user="*"/>
<allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""


class Refused(Exception):
    """firewalld's answer is an error."""


class Bus:
    """A bus that may be ended and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._configuration = folder / "bus.conf"
        self._socket = folder / "bus"
        self.address = f"unix:path={self._socket}"
        self._configuration.write_text(_CONFIGURATION.format(address=self.address))
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start, and wait until it listens."""
        program = shutil.which("dbus-daemon") or str(UNPACKED / "usr/bin/dbus-daemon")
        if not Path(program).exists():
            pytest.skip("there is no dbus-daemon; `make test` unpacks it")
        command = [program, f"--config-file={self._configuration}", "--nofork", "--nopidfile"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(self._socket.exists, "the bus listens")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._socket.unlink(missing_ok=True)

    def call(self, method: str, signature: str = "", *body: object, path: str = PATH) -> list[Any]:
        """What firewalld answers, or raise `Refused`."""
        return asyncio.run(self._call(method, signature, list(body), path))

    async def _call(self, method: str, signature: str, body: list[Any], path: str) -> list[Any]:
        interface, _, member = method.rpartition(".")
        bus = await MessageBus(bus_address=self.address).connect()
        try:
            asked = Message(FIREWALLD, path, interface, member, signature=signature, body=body)
            answer = await bus.call(asked)
        finally:
            bus.disconnect()
        assert answer
        if answer.message_type is MessageType.ERROR:
            raise Refused(answer.body)
        return list(answer.body)

    def there(self) -> bool:
        """Whether firewalld answers."""
        try:
            return bool(self.call(f"{FIREWALLD}.zone.getZones"))
        except (Refused, OSError):
            return False


@contextmanager
def private_bus(folder: Path) -> Iterator[Bus]:
    """A bus, started."""
    with ExitStack() as stack:
        made = Bus(folder)
        made.start()
        stack.callback(made.stop)
        yield made


@contextmanager
def site_on(bus: Bus, folder: Path, stack: ExitStack, *flags: str) -> Iterator[Site]:
    """A host whose daemon knows a bus; `stack` has what is to be ended before the host goes."""
    with wired() as lab:
        made = Site(lab, Daemon(lab, folder, flags, bus.address))
        with stack:
            try:
                yield made
            finally:
                if hasattr(made.daemon, "process"):  # else there is no firewalld to test with
                    made.daemon.take_down()
        assert leftovers(lab) == []


@contextmanager
def real_firewalld(
    bus: Bus, host: Namespace, folder: Path, backend: str = "nftables"
) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's firewalld in a namespace; its configuration is the folder's."""
    program = UNPACKED / "usr/sbin/firewalld"
    if not program.exists() or not Path("/usr/bin/python3").exists():
        pytest.skip("there is no firewalld; `make test` unpacks it")
    settings, defaults = folder / "firewalld", UNPACKED / "usr/lib/firewalld"
    if not settings.exists():
        shutil.copytree(UNPACKED / "etc/firewalld", settings)
        file = settings / "firewalld.conf"
        text = file.read_text()
        assert _BACKEND in text
        file.write_text(text.replace(_BACKEND, f"FirewallBackend={backend}\n"))
    command = ["/usr/bin/python3", str(program), "--nofork", "--nopid", "--log-target", "console"]
    command += ["--system-config", str(settings), "--default-config", str(defaults)]
    with running(bus, host, command, libraries()) as process:
        yield process


def libraries() -> dict[str, str]:
    """Where Debian's Python finds what is only unpacked."""
    found = UNPACKED / "usr/lib"
    (machine,) = {each.parent for each in found.glob("*-linux-gnu/girepository-1.0")}
    return {
        "PYTHONPATH": str(found / "python3/dist-packages"),
        "LD_LIBRARY_PATH": str(machine),
        "GI_TYPELIB_PATH": str(machine / "girepository-1.0"),
    }


@contextmanager
def running(
    bus: Bus, host: Namespace, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A firewalld in a namespace, until the end of the block; answering at its beginning."""
    with host.entered():
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "DBUS_SYSTEM_BUS_ADDRESS": bus.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        eventually(bus.there, "firewalld answers", seconds=60)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)

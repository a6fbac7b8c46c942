"""Firewalls of others, as Debian ships them, in a host's namespace: ufw and firewalld.

`make test` unpacks them. Their configuration is a copy in a folder of the test's; nothing of this
machine's is read or written.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy, copytree
from typing import Final

from tests.e2e.bus import UNPACKED as FIREWALLD_UNPACKED
from tests.e2e.bus import libraries, private_bus, real_firewalld
from tests.netns.namespaces import Namespace

UNPACKED: Final = Path(sys.prefix) / "ufw"


class Ufw:
    """ufw of a host, with a configuration of its own in a folder; the one of a fresh package."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        self._host = host
        self._root = folder / "ufw"
        for part in ("etc", "lib/ufw", "usr/share/ufw"):
            copytree(UNPACKED / part, self._root / part, dirs_exist_ok=True)
        # Debian's package does this when it is configured.
        share = self._root / "usr/share/ufw"
        for each in (*share.glob("*.rules"), *share.glob("iptables/*.rules"), share / "ufw.conf"):
            copy(each, self._root / "etc/ufw")

    def __call__(self, command: str) -> str:
        """What ``ufw COMMAND`` says."""
        where = [f"--rootdir={self._root}", f"--datadir={self._root}"]
        words = ["/usr/bin/python3", str(UNPACKED / "usr/sbin/ufw"), *where, *command.split()]
        modules = {"PYTHONPATH": str(UNPACKED / "usr/lib/python3/dist-packages")}
        with self._host.entered():
            done = subprocess.run(
                words, capture_output=True, text=True, check=True, env={**os.environ, **modules}
            )
        return done.stdout

    def accept_forwarded(self, what: str) -> None:
        """Write a rule into the files for experts."""
        for name, family in (("before.rules", "ufw"), ("before6.rules", "ufw6")):
            path, end = self._root / "etc/ufw" / name, "# End required lines\n"
            rule = f"-A {family}-before-forward {what} -j ACCEPT\n"
            text = path.read_text()
            assert text.count(end) == 1
            path.write_text(text.replace(end, end + rule))

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Switched on, and off in the end; its empty chains are taken away."""
        self("--force enable")
        try:
            yield
        finally:
            self("disable")


class Firewalld:
    """A firewalld that runs in a host's namespace, on a bus of its own."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        self._host = host
        self._folder = folder

    def __call__(self, command: str) -> str:
        """What ``firewall-cmd COMMAND`` says."""
        words = ["/usr/bin/python3", str(FIREWALLD_UNPACKED / "usr/bin/firewall-cmd")]
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": self._bus.address}
        with self._host.entered():
            done = subprocess.run(
                [*words, *command.split()],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **libraries(), **bus},
            )
        return done.stdout

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, and stopped in the end, which takes its table away."""
        self._folder.mkdir()
        with (
            private_bus(self._folder) as self._bus,
            real_firewalld(self._bus, self._host, self._folder),
        ):
            yield

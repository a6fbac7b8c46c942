"""Programs that carry out scripts for us, and what becomes of them if we are killed."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from threading import Lock
from time import monotonic, sleep
from typing import IO, Final

from hostports.errors import FirewallFailed

#: By its standard input such a program is known, whoever its parent is by now.
_NAME: Final = "hostports-script"
_INPUT: Final = Path(f"/memfd:{_NAME} (deleted)")
_NAMESPACE: Final = Path("/proc/thread-self/ns/net")
#: Seconds for the last transaction of a daemon that was killed; sixty thousand ports take a few.
PATIENCE_S: Final = 30.0
_GLANCE_S: Final = 0.01
#: So many processes of ours are known again, where nobody reads what the kernel tells of them.
_REMEMBERED: Final = 256


class Programs:
    """Runs programs, and knows them again by what the kernel tells of them."""

    def __init__(self) -> None:
        self._birth = Lock()
        #: Whether they have ended, by their process ids.
        self._own: dict[int, bool] = {}

    def run(self, command: Sequence[str], script: str = "") -> subprocess.CompletedProcess[str]:
        """Let a program carry out a script. Raises `FileNotFoundError` if it isn't there."""
        # Nobody may ask whose change it is before we know.
        with self._birth, script_for(script) as told:
            process = subprocess.Popen(  # noqa: S603 - nft and iptables, with arguments of our own
                command, text=True, stdin=told, stdout=PIPE, stderr=PIPE
            )
            self._own[process.pid] = False
            if len(self._own) > _REMEMBERED:
                del self._own[next(iter(self._own))]
        with process:
            said, complained = process.communicate()
        with self._birth:
            if process.pid in self._own:
                self._own[process.pid] = True
        return subprocess.CompletedProcess(command, process.returncode, said, complained)

    def ran(self, pid: int) -> bool:
        """Whether a process is one of these, or was of late."""
        with self._birth:
            return pid in self._own

    @contextmanager
    def all_told(self) -> Iterator[None]:
        """A block that reads all that the kernel has told by now.

        What had ended before it is forgotten after it: no more can be told of that, and its number
        may be somebody else's in another PID namespace, or later.
        """
        with self._birth:
            ended = [pid for pid, has_ended in self._own.items() if has_ended]
        yield
        with self._birth:
            for pid in ended:
                self._own.pop(pid, None)


@contextmanager
def script_for(text: str) -> Iterator[IO[bytes]]:
    """A script to be a program's standard input: a file in memory, whole before it is read.

    Through a pipe, a program would be told but half of it if we are killed, and carry that out.
    """
    with os.fdopen(os.memfd_create(_NAME), "w+b") as file:
        file.write(text.encode())
        file.seek(0)
        yield file


def wait_for_orphans(seconds: float = PATIENCE_S) -> None:
    """Wait until no program carries out a script in our network namespace any more.

    What a daemon that was killed has begun would be done over our rules else. Raises
    `FirewallFailed`, which names a program that doesn't end.
    """
    deadline = monotonic() + seconds
    while orphans := _orphans():
        if monotonic() > deadline:
            raise FirewallFailed(
                f"process {orphans[0]} still changes the firewall for a daemon that was killed",
                f"see why it doesn't end, or kill {orphans[0]}",
            )
        sleep(_GLANCE_S)


def _orphans() -> list[int]:
    """Those who have a script to carry out, by their ids."""
    ours = _NAMESPACE.stat().st_ino
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        # It may end meanwhile, or be somebody else's, of whom nothing may be known.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            told = (each / "fd" / "0").readlink() == _INPUT
            if told and (each / "ns" / "net").stat().st_ino == ours:
                found.append(int(each.name))
    return found

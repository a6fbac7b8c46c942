"""What the kernel tells of a running process: descriptors, memory, processor time, its sockets."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: pidfd_getfd(2), which Python 3.11 has no function for; the number is the same on all machines.
_PIDFD_GETFD: Final = 438
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Process:
    """A process by its number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = Path(f"/proc/{pid}")

    def descriptors(self) -> Counter[str]:
        """How many open descriptors there are of each kind, as ``socket`` and ``pipe``."""
        return Counter(target.partition(":")[0] for _, target in self._links())

    def memory(self) -> int:
        """Bytes of memory in use."""
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def processor_time(self) -> float:
        """Seconds of processor time used so far, in user space and in the kernel."""
        # The second field is the name in parentheses, which may contain anything.
        _, _, rest = (self._proc / "stat").read_text().rpartition(")")
        user, system = rest.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it at once, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    @contextmanager
    def limited_descriptors(self, more: int) -> Iterator[None]:
        """Let it open only so many descriptors more than it has, until the end of the block."""
        before = self._soft_limit()
        self._limit_descriptors(self.descriptors().total() + more)
        try:
            yield
        finally:
            self._limit_descriptors(before)

    def status(self, field: str) -> list[str]:
        """The words of a line of its ``/proc/PID/status``, as ``Uid``."""
        lines = (self._proc / "status").read_text().splitlines()
        return dict(line.split(":", 1) for line in lines)[field].split()

    def _soft_limit(self) -> int:
        for line in (self._proc / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
        raise LookupError("Max open files")

    def _limit_descriptors(self, most: int) -> None:
        """As its own user; another one, even root, needs CAP_SYS_RESOURCE for that (prlimit(2))."""
        command = ["prlimit", f"--pid={self.pid}", f"--nofile={most}:"]
        user, group = int(self.status("Uid")[0]), int(self.status("Gid")[0])
        subprocess.run(command, user=user, group=group, check=True)

    @contextmanager
    def connection_to(self, peer: tuple[str, int]) -> Iterator[socket.socket]:
        """A copy of its socket that is connected to a peer, to look at."""
        pidfd = os.pidfd_open(self.pid)
        try:
            found = next(each for each in self._sockets(pidfd) if _peer(each) == peer)
        finally:
            os.close(pidfd)
        with found:
            yield found

    def _sockets(self, pidfd: int) -> Iterator[socket.socket]:
        """Copies of its sockets, one at a time."""
        for number, target in self._links():
            if target.startswith("socket:"):
                copy = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
                if copy >= 0:
                    yield socket.socket(fileno=copy)

    def _links(self) -> Iterator[tuple[int, str]]:
        for link in (self._proc / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                yield int(link.name), str(link.readlink())


def _peer(found: socket.socket) -> tuple[str, int] | None:
    if found.family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            ip, port, *_ = found.getpeername()
            return ip, port
    return None


@contextmanager
def open_files(wanted: int) -> Iterator[int]:
    """Let this process and those it starts open so many files, or as many as the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""Processes that others may have started: known by number and start, and ended."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

#: Of what follows the name in /proc/PID/stat, which may have anything in it (proc(5)).
_STARTED = 19


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since the host was; None if there is none.

    With it a number means one process: another one with the same number has another start.
    """
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(said.rpartition(")")[2].split()[_STARTED])


def runs(pid: int, module: str) -> bool:
    """Whether a process is a Python that was told to run a module (``-m``)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return module.encode() in words and words[words.index(module.encode()) - 1] == b"-m"


def end(pid: int, since: int, patience_s: float) -> None:
    """End a process that was started then: by SIGTERM, and if it stays so long, by SIGKILL."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if started(pid) == since:
                    signal.pidfd_send_signal(process, number)
                    select.select([process], [], [], patience_s)
        finally:
            os.close(process)

"""Processes known by number and start."""

import os
import signal
import subprocess
import sys

from hostports.linux import processes

_STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
)


def test_a_process_is_known_by_its_number_and_start() -> None:
    since = processes.started(os.getpid())
    assert since == processes.started(os.getpid())
    with subprocess.Popen(["/bin/sleep", "60"]) as later:
        assert (processes.started(later.pid) or 0) > (since or 0)
        processes.end(later.pid, since or 0, 0.1)
        assert later.poll() is None
        processes.end(later.pid, processes.started(later.pid) or 0, 60)
        assert later.wait() == -signal.SIGTERM
    assert processes.started(later.pid) is None


def test_a_process_that_does_not_end_is_killed() -> None:
    command = [sys.executable, "-c", _STUBBORN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        processes.end(stubborn.pid, processes.started(stubborn.pid) or 0, 0.1)
        assert stubborn.wait() == -signal.SIGKILL


def test_what_has_ended_need_not_be_ended() -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    processes.end(gone.pid, 0, 0.1)

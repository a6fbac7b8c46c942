"""Processes known by number and start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

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


def test_a_process_is_known_by_the_module_that_python_was_told_to_run(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text("print(flush=True); input()")
    command = [sys.executable, "-m", "waiting", "other"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout
        running.stdout.readline()
        assert processes.runs(running.pid, "waiting")
        assert not processes.runs(running.pid, "other")
        assert not processes.runs(running.pid, "absent")
        running.communicate(b"\n")
    assert not processes.runs(running.pid, "waiting")

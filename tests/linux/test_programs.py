"""A program that carries out a script, and whoever has told it to is killed."""

import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from hostports.errors import FirewallFailed
from hostports.linux.programs import script_for, wait_for_orphans
from tests.netns.namespaces import namespace

TELLER = """
import os, subprocess, sys
from hostports.linux.programs import script_for
with script_for(sys.argv[1]) as told:
    subprocess.Popen(["/bin/sh"], stdin=told)
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_daemon_has_begun_is_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = f"sleep 0.3\ntouch {done}\n"
    with namespace() as host, host.entered():
        told = subprocess.run([sys.executable, "-c", TELLER, script], check=False, timeout=60)
        assert told.returncode == -SIGKILL
        assert not done.exists()
        wait_for_orphans()
        assert done.exists()


def test_not_for_ever_and_not_for_those_of_other_hosts() -> None:
    with namespace() as host, namespace() as other:
        with host.entered(), script_for("sleep 60") as told:
            program = subprocess.Popen(["/bin/sh"], stdin=told)
        with program:
            with other.entered():
                wait_for_orphans(0)
            with host.entered(), pytest.raises(FirewallFailed, match=f"process {program.pid}"):
                wait_for_orphans(0.05)
            program.kill()

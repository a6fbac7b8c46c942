import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from hostports.daemon.sole import claimed_namespace, serving_here
from hostports.errors import DaemonThere
from hostports.unix import listening_at
from tests.netns.namespaces import namespace

CLAIM_AND_SLEEP = """
import sys, time
from pathlib import Path
from hostports.daemon.sole import claimed_namespace
with claimed_namespace("/run/s", Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def claim(locks: Path) -> None:
    """Claim it for a moment."""
    with claimed_namespace("/run/other", locks):
        pass


def test_a_network_namespace_has_one_daemon(tmp_path: Path) -> None:
    with claimed_namespace("/run/s", tmp_path):
        refused = rf"pid {os.getpid()}\).*; use --socket /run/s, or stop it"
        with pytest.raises(DaemonThere, match=refused):
            claim(tmp_path)
        with namespace() as other, other.entered():
            claim(tmp_path)
    claim(tmp_path)


def test_whoever_serves_a_namespace_is_found_as_long_as_it_can_be_reached(tmp_path: Path) -> None:
    served = tmp_path / "s"
    with claimed_namespace(str(served), tmp_path):
        assert serving_here(tmp_path) == ""
        with listening_at(served, 0o600):
            assert serving_here(tmp_path) == str(served)
            with namespace() as other, other.entered():
                assert serving_here(tmp_path) == ""
    assert serving_here(tmp_path) == ""


def test_nothing_stays_of_a_claim(tmp_path: Path) -> None:
    claim(tmp_path / "locks")
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_killed_daemon_is_void(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM_AND_SLEEP, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(DaemonThere, match=f"pid {process.pid}"):
            claim(tmp_path)
        process.send_signal(SIGKILL)
    claim(tmp_path)

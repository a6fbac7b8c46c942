import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from hostports.daemon.sole import claim_namespace
from hostports.errors import DaemonThere
from tests.netns.namespaces import namespace

CLAIM_AND_SLEEP = """
import sys, time
from pathlib import Path
from hostports.daemon.sole import claim_namespace
claim = claim_namespace(Path(sys.argv[1]))
print("claimed", flush=True)
time.sleep(60)
"""


def test_a_network_namespace_has_one_daemon(tmp_path: Path) -> None:
    claim = claim_namespace(tmp_path)
    with pytest.raises(DaemonThere, match=f"pid {os.getpid()}"):
        claim_namespace(tmp_path)
    with namespace() as other, other.entered():
        claim_namespace(tmp_path).close()
    claim.close()
    claim_namespace(tmp_path).close()


def test_nothing_stays_of_a_claim(tmp_path: Path) -> None:
    claim_namespace(tmp_path / "locks").close()
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_killed_daemon_is_void(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM_AND_SLEEP, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(DaemonThere, match=f"pid {process.pid}"):
            claim_namespace(tmp_path)
        process.send_signal(SIGKILL)
    claim_namespace(tmp_path).close()

"""How a relay is started: one at a path, and to outlive whoever starts it."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hostports.cli.session import PRIVATE_DAEMON
from hostports.errors import RelayFailed
from hostports.relay.client import RelayClient
from hostports.relay.launch import start_relay
from tests.relay.lab import Lab
from tests.relay.peers import exchange
from tests.relay.proc import Process
from tests.relay.relays import RunningRelay, running_relay, watched
from tests.relay.services import Service, serving
from tests.relay.waiting import PATIENCE_S

#: Starts a relay and ends.
START = """
import sys
from pathlib import Path
from hostports.relay.launch import start_relay
print(start_relay(Path(sys.argv[1])).pid)
"""


def test_nothing_is_imported_from_the_directory_that_we_are_in(
    lab: Lab, control_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may be anywhere when a relay, or a daemon for one run, is started."""
    (tmp_path / "select.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    with lab.host.entered():
        process = start_relay(control_path)
    try:
        with RelayClient(control_path) as relay:
            assert relay.held() == []
    finally:
        process.kill()
        process.wait()
    done = subprocess.run([*PRIVATE_DAEMON, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_relay_at_a_served_path_is_refused_and_the_first_goes_on(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    client, server = web.join()
    with relay.lab.host.entered(), pytest.raises(RelayFailed) as caught:
        start_relay(control_path)
    assert str(caught.value) == (
        f"a relay serves at {control_path} already; retire or stop that one"
    )
    assert exchange(client, server)
    with RelayClient(control_path) as daemon:
        assert daemon.hello().pid == relay.process.pid


def test_what_a_killed_relay_left_at_its_path_is_no_obstacle(lab: Lab, control_path: Path) -> None:
    with lab.host.entered():
        killed = start_relay(control_path)
    killed.kill()
    killed.wait()
    assert control_path.is_socket()
    with running_relay(lab, control_path) as relay:
        assert relay.control.hello().pid == relay.process.pid != killed.pid


@pytest.mark.parametrize("path", ["nowhere/relay.sock", "x" * 200])
def test_a_path_that_can_not_be_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(RelayFailed, match=f"no relay can be started at {tmp_path / path}: "):
        start_relay(tmp_path / path)


@contextmanager
def orphan(lab: Lab, path: Path) -> Iterator[Process]:
    """A relay whose starter has ended, and which ends itself until the end of the block."""
    command = [sys.executable, "-c", START, str(path)]
    with lab.host.entered():
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    process = Process(int(done.stdout))
    ended = os.pidfd_open(process.pid)
    try:
        yield process
        assert select.select([ended], [], [], PATIENCE_S)[0], "it goes on"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(ended, signal.SIGKILL)
        os.close(ended)


def test_a_relay_outlives_whoever_started_it(lab: Lab, control_path: Path) -> None:
    """And what ends its session, as Ctrl-C does."""
    with (
        orphan(lab, control_path) as process,
        watched(lab, control_path, process.pid) as relay,
        serving(relay) as web,
    ):
        assert os.getsid(process.pid) == process.pid
        assert exchange(*web.join())


def test_a_path_that_nobody_serves_is_named(control_path: Path) -> None:
    with RelayClient(control_path) as daemon, pytest.raises(RelayFailed) as caught:
        daemon.hello()
    assert str(caught.value).startswith(f"the relay at {control_path} can't be reached: ")

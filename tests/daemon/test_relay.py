"""Which process the relay's keeper takes for the relay of before."""

import subprocess
from pathlib import Path

from hostports.daemon.relay import RelayKeeper
from hostports.linux import processes
from hostports.model.relay import RelayProcess, RelaySettings
from hostports.store.sqlite import SqliteStore


def test_a_process_that_is_no_relay_is_left_alone_whatever_is_recorded(tmp_path: Path) -> None:
    """After a restart of the host another one may have its number and its tick."""
    keeping = SqliteStore(tmp_path / "state.sqlite3")
    with keeping as store, subprocess.Popen(["/bin/sleep", "60"]) as other:
        started = processes.started(other.pid)
        assert started is not None
        store.record_relay(RelayProcess(other.pid, started, str(tmp_path / "other.sock")))
        keeper = RelayKeeper(tmp_path / "relay.sock", RelaySettings(), store)
        assert keeper.dismiss() == ()
        assert other.poll() is None
        other.kill()

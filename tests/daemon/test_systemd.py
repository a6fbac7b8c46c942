"""What systemd and we tell each other, with sockets that stand in for systemd's."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hostports.daemon.systemd import listening_socket, notify

PRINT_SOCKET = """
import os
from hostports.daemon.systemd import listening_socket
os.environ["LISTEN_PID"] = str(os.getpid())
found = listening_socket()
print(found and found.getsockname())
"""


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    abstract: bool,  # noqa: FBT001 - pytest's
) -> None:
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


def test_a_socket_that_systemd_listens_on_is_used(tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(path)
        given.listen()
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$0" -c "$1" 3<&0', sys.executable, PRINT_SOCKET],
            stdin=given.fileno(),
            env={**os.environ, "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == f"{path}\n"


def test_sockets_that_were_meant_for_another_process_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert listening_socket() is None

import socket
from pathlib import Path

import pytest

from hostports.unix import listening_at


def test_only_those_whom_the_mode_lets_may_connect(tmp_path: Path) -> None:
    with listening_at(tmp_path / "socket", 0o640):
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o640


def test_where_somebody_listens_nobody_else_can(tmp_path: Path) -> None:
    with listening_at(tmp_path / "socket", 0o600), pytest.raises(OSError, match="already"):
        listening_at(tmp_path / "socket", 0o600)


def test_a_socket_that_nobody_listens_on_any_more_is_replaced(tmp_path: Path) -> None:
    listening_at(tmp_path / "socket", 0o600).close()
    with listening_at(tmp_path / "socket", 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "socket"))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """Though connect(2) says the same of it as of a socket without a listener."""
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OSError, match="no socket"):
        listening_at(tmp_path / "precious", 0o600)
    assert (tmp_path / "precious").read_text() == "data"

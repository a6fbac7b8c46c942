import subprocess
import sys
from collections.abc import Mapping

import pytest

SHOW = """
from hostports import Client
from hostports.daemon.config import Config
config = Config()
print(config.state, config.run, str(config.api_socket) == Client().socket)
"""
KIT = {"ROOTLESSKIT_STATE_DIR": "/run/user/1000/kit", "HOME": "/home/ann"}


@pytest.mark.parametrize(
    ("environment", "places"),
    [
        ({}, "/var/lib/hostports /run/hostports"),
        ({"ROOTLESSKIT_STATE_DIR": ""}, "/var/lib/hostports /run/hostports"),
        (KIT, "/home/ann/.local/share/hostports /run/user/1000/kit/hostports"),
        (KIT | {"XDG_DATA_HOME": "/data"}, "/data/hostports /run/user/1000/kit/hostports"),
    ],
)
def test_files_are_where_we_may_write_and_the_command_looks_for_them_there(
    environment: Mapping[str, str], places: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{places} True\n"

"""The command against a fake daemon."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from hostports.cli.main import main
from tests.client.server import FakeServer, serving


class Done(NamedTuple):
    """What came of a command line."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - it's JSON
        """Standard output, which is one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:  # noqa: ANN401 - it's JSON
        """What the error document on standard error says."""
        return json.loads(self.err)["error"]


#: Runs a command line against the fake daemon.
Cli = Callable[..., Done]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server whose socket has a short path (sockaddr_un has room for 107 bytes)."""
    with TemporaryDirectory(prefix="hp-") as directory, serving(Path(directory) / "s") as made:
        yield made


@pytest.fixture
def cli(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs command lines in this process."""

    def run(*words: str) -> Done:
        status = main(["--socket", str(server.path), *words])
        return Done(status, *capsys.readouterr())

    return run

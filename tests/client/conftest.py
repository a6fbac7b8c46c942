"""A fake daemon for each test."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.client.server import FakeServer, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server whose socket has a short path (sockaddr_un has room for 107 bytes)."""
    with TemporaryDirectory(prefix="hp-") as directory, serving(Path(directory) / "s") as made:
        yield made

"""A lab for each file, and a fresh relay for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.lab import Lab, lab
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import Service, serving


@pytest.fixture(name="lab", scope="module")
def lab_of_the_file() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def control_path(tmp_path: Path) -> Path:
    """Where a relay is to have its control socket."""
    return tmp_path / "relay.sock"


@pytest.fixture
def relay(lab: Lab, control_path: Path) -> Iterator[RunningRelay]:
    with running_relay(lab, control_path) as running:
        yield running


@pytest.fixture
def web(relay: RunningRelay) -> Iterator[Service]:
    """A TCP port, published on the host's IPv4 addresses, before a container that says nothing."""
    with serving(relay) as service:
        yield service

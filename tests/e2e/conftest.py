"""What modules have in common; those that need another site make it themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site, site


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """A network with two containers."""
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.add_container("nat2")
        yield made

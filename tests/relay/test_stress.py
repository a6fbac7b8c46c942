"""A short run of the stress test; `make soak` makes the long one."""

import secrets

from tests.relay.services import Service
from tests.relay.stress import stress


def test_whatever_connections_do_every_byte_is_accounted_for(web: Service) -> None:
    assert stress(web, connections=60, seconds=3, seed=secrets.randbelow(1_000_000)) == []

"""Killed at any instant, daemon and relay come back to what was answered, and leave nothing."""

from pathlib import Path
from random import randrange

import pytest

from tests.survival.host import host
from tests.survival.live import RESTARTS, survive


def test_a_daemon_that_is_killed_at_any_step_is_one_with_its_host_after_the_next_start(
    tmp_path: Path,
) -> None:
    """In turns before and after it; `make soak` takes both of each."""
    seed = randrange(1_000_000)
    print(f"seed {seed}")
    with host(tmp_path, seed) as made:
        for number, step in enumerate(made.steps):
            made.die_at(f"{step}:1:{('before', 'after')[(seed + number) % 2]}")
        made.serve()


def test_so_are_a_daemon_and_a_relay_that_are_killed_at_random_instants(tmp_path: Path) -> None:
    seed = randrange(1_000_000)
    print(f"seed {seed}")
    with host(tmp_path, seed) as made:
        for _, (_, strike) in zip(range(11), made.strikes(), strict=False):
            strike()
        made.serve()
        assert all(each.answered for each in made.workers)


@pytest.mark.parametrize(
    "flags",
    [("--firewall", "iptables"), ("--no-relay",), ("--firewall", "iptables", "--no-relay")],
    ids=" ".join,
)
def test_so_is_a_daemon_on_iptables_and_one_without_a_relay(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Two steps at which much is half done, and some instants; `make soak` takes all."""
    seed = randrange(1_000_000)
    print(f"seed {seed}")
    with host(tmp_path, seed, *flags) as made:
        for step in ("firewall.apply", "sockets.listen"):
            made.die_at(f"{step}:2:after")
        for _, (_, strike) in zip(range(3), made.strikes(), strict=False):
            strike()
        made.serve()
        assert all(each.answered for each in made.workers)


def test_no_open_connection_ends_when_the_daemon_is_started_anew(tmp_path: Path) -> None:
    """Not even when a relay of another version takes over; `make soak` has thousands."""
    assert len(list(survive(tmp_path, 100))) == len(RESTARTS)

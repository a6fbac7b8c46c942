"""Kill a daemon, its relay, or both, at every step and at random instants.

``python -m tests.survival --instants 200 --seed 7``: the seed is printed, so that the same programs
can be run again; when exactly a kill strikes is up to the clock. With ``--firewall iptables`` and
``--no-relay`` it is another daemon that has to survive.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import randrange
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from tests.survival.doomed import WHEN
from tests.survival.host import Host, host
from tests.survival.live import survive

#: Each step is survived when it is taken for the first time, and later.
_CALLS: Final = (1, 3)


def dooms(made: Host) -> Iterator[str]:
    """Every step, before and after it is taken."""
    for call in _CALLS:
        for step in made.steps:
            yield from (f"{step}:{call}:{when}" for when in WHEN)


def keep(number: int) -> None:
    """Restart with so many connections open."""
    with TemporaryDirectory() as folder:
        for said in survive(Path(folder), number):
            print(said, flush=True)


def main() -> None:
    """Survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=randrange(1_000_000))
    parser.add_argument("--connections", type=int, default=5000, help="of each kind")
    parser.add_argument("--firewall", choices=("nftables", "iptables"), default="nftables")
    parser.add_argument("--no-relay", action="store_true")
    given = parser.parse_args()
    flags = ["--firewall", given.firewall, *(["--no-relay"] if given.no_relay else [])]
    if given.connections:
        keep(given.connections)
    print(f"seed {given.seed}, {' '.join(flags)}")
    start = perf_counter()
    with TemporaryDirectory() as folder, host(Path(folder), given.seed, *flags) as made:
        for doom in dooms(made):
            made.die_at(doom)
            print(f"killed at {doom}", flush=True)
        for number, (what, strike) in zip(range(given.instants), made.strikes(), strict=False):
            strike()
            print(f"instant {number + 1}: {what}", flush=True)
        made.serve()
        answered = sum(each.answered for each in made.workers)
    took = perf_counter() - start
    print(f"survived; {answered} operations were answered in {took:.0f} s")
    if away := sorted(made.relay_away_s):
        print(
            f"a dead relay's ports were back after {median(away):.2f} s, at most {away[-1]:.2f} s"
        )


if __name__ == "__main__":
    main()

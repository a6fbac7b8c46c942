"""How long rules are away after somebody has changed them: a real daemon in network namespaces.

From before a program is told to delete something until the daemon's transactions are there, as the
kernel tells it. With nftables the first has all that protects, the last the ports, too; with few
ports, or where nothing that leads to ports was touched, that is the same one. With iptables each
table of each family is a transaction.
"""

import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Final

from hostports.core.healing import BURST
from hostports.linux.multicast import Multicast, sender
from tests.e2e.site import Site, site

#: So many are healed without a pause; each command of a way may want a healing of its own.
HEALINGS: Final = BURST - 1
#: By firewall: numbers of ports, and what is done to the rules of so many.
WAYS: Final = {
    "nftables": (
        (1, 1_000, 10_000),
        (
            "nft flush ruleset",
            "nft delete table inet hostports",
            "nft flush chain inet hostports early",
            "nft delete element inet hostports dnat_any4 { tcp . 2000 }",
        ),
    ),
    "iptables": (
        (1, 1_000),
        (
            "nft flush ruleset",
            "iptables -F",
            "iptables -F; iptables -X",
            "iptables -t nat -F HP-PUBLISH",
        ),
    ),
}
_FIRST_PORT: Final = 2_000
_PATIENCE_S: Final = 60.0
#: When nothing more comes for so long all is healed, and the daemon has looked at flows, too.
_PAUSE_S: Final = 0.5
_NETFILTER, _NFTABLES = 12, 1 << 6


@contextmanager
def published(firewall: str, ports: int) -> Iterator[Site]:
    """A daemon with ports of one container, for IPv4."""
    flags = ("--no-relay", "--firewall", firewall)
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), *flags) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        spec = f"{_FIRST_PORT}-{_FIRST_PORT + ports - 1}" if ports > 1 else f"{_FIRST_PORT}"
        made.publish("nat1", f"0.0.0.0:{spec}:{spec}")
        yield made


def healed(commands: str) -> tuple[float, float]:
    """Milliseconds from the damage until the daemon's first transaction, and until its last one.

    Of several commands, which may be healed before the next one, the first begins it.
    """
    told = Multicast(_NETFILTER, _NFTABLES)
    times: list[float] = []
    try:
        start = perf_counter()
        damaging = set(map(_done, commands.split(";")))
        while select.select([told], [], [], _PAUSE_S if times else _PATIENCE_S)[0]:
            now = (perf_counter() - start) * 1e3
            times += [now for each in told.datagrams() if sender(each) not in damaging]
        if not times:
            raise TimeoutError(commands)
        return times[0], times[-1]
    finally:
        told.close()


def _done(command: str) -> int:
    """Run a command to its end; the process that it was."""
    with subprocess.Popen(command.split()) as done:  # noqa: S603 - commands of our own
        return done.pid


def main() -> None:
    """A line for each firewall, number of ports and way."""
    print(f"{'':41}{'':8}{'first transaction, ms':>24}{'last one, ms':>24}")
    print(f"{'healed after':41}{'ports':>8}" + f"{'p50':>8}{'p90':>8}{'most':>8}" * 2)
    for firewall, (numbers, ways) in WAYS.items():
        for ports in numbers:
            with published(firewall, ports) as made:
                for command in ways:
                    times = []
                    for _ in range(HEALINGS // len(command.split(";"))):
                        with made.lab.namespaces["host"].entered():
                            times.append(healed(command))
                    figures = [each for some in zip(*times, strict=True) for each in _figures(some)]
                    name = command.replace("inet hostports ", "")
                    print(f"{name:41}{ports:8,}" + "".join(f"{each:8.1f}" for each in figures))
                    # Another one has all its healings in hand.
                    made.daemon.stop()
                    made.daemon.start()


def _figures(times: Sequence[float]) -> list[float]:
    cut = quantiles(times, n=10, method="inclusive")
    return [cut[4], cut[8], max(times)]


if __name__ == "__main__":
    main()

"""How long rules are away after somebody has changed them: a real daemon in network namespaces.

From before nft is told to delete something until the daemon's transactions are there, as the kernel
tells it: the first has all that protects, the last the ports, too. With few ports, or where nothing
that leads to ports was touched, that is the same one.
"""

import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep
from typing import Final

from hostports.core.healing import BURST
from hostports.linux.multicast import Multicast, sender
from hostports.linux.rule_watch import changes, in_our_table
from tests.e2e.site import Site, site

PORTS: Final = (1, 1_000, 10_000)
#: So many are healed without a pause.
ROUNDS: Final = BURST - 1
WAYS: Final = {
    "flush ruleset": "flush ruleset",
    "delete table": "delete table inet hostports",
    "flush chain": "flush chain inet hostports early",
    "delete element": "delete element inet hostports dnat_any4 { tcp . 2000 }",
}
_TOUCHES_NO_PORT: Final = "flush chain"
_FIRST_PORT: Final = 2_000
_PATIENCE_S: Final = 60.0
#: Until the daemon has looked at flows, too.
_PAUSE_S: Final = 0.5
_NETFILTER, _NFTABLES = 12, 1 << 6


@contextmanager
def published(ports: int) -> Iterator[Site]:
    """A daemon with ports of one container, for IPv4."""
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), "--no-relay") as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        spec = f"{_FIRST_PORT}-{_FIRST_PORT + ports - 1}" if ports > 1 else f"{_FIRST_PORT}"
        made.publish("nat1", f"0.0.0.0:{spec}:{spec}")
        yield made


def healed(script: str, transactions: int) -> list[float]:
    """Milliseconds from the damage until each of the daemon's transactions."""
    told = Multicast(_NETFILTER, _NFTABLES)
    seen: dict[int, float] = {}
    try:
        start = perf_counter()
        with subprocess.Popen(["nft", script]) as damaging:  # noqa: S603, S607 - scripts of our own
            pass
        while len(seen) < transactions:
            if not select.select([told], [], [], _PATIENCE_S)[0]:
                raise TimeoutError(script)
            now = (perf_counter() - start) * 1e3
            for datagram in told.datagrams():
                if sender(datagram) != damaging.pid and any(map(in_our_table, changes(datagram))):
                    seen.setdefault(sender(datagram), now)
        return list(seen.values())
    finally:
        told.close()


def main() -> None:
    """A line for each way and number of ports."""
    print(f"{'':16}{'':8}{'protections, ms':>30}{'whole table, ms':>30}")
    print(f"{'healed after':16}{'ports':>8}" + f"{'p50':>10}{'p90':>10}{'most':>10}" * 2)
    for ports in PORTS:
        with published(ports) as made:
            for name, script in WAYS.items():
                times = []
                for _ in range(ROUNDS):
                    with made.lab.namespaces["host"].entered():
                        once = ports == 1 or name == _TOUCHES_NO_PORT
                        times.append(healed(script, 1 if once else 2))
                    sleep(_PAUSE_S)
                figures = [*_figures([e[0] for e in times]), *_figures([e[-1] for e in times])]
                print(f"{name:16}{ports:8,}" + "".join(f"{each:10.1f}" for each in figures))
                # Another one has all its healings in hand.
                made.daemon.stop()
                made.daemon.start()


def _figures(times: Sequence[float]) -> list[float]:
    cut = quantiles(times, n=10, method="inclusive")
    return [cut[4], cut[8], max(times)]


if __name__ == "__main__":
    main()

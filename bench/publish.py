"""Publishing through the API, with everything real: daemon, relay, sockets, nftables, record.

For 1 to 10,000 ports, dual-stack, as one call: seconds to publish and to unpublish, and the memory
of daemon and relay with all ports published.
"""

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, NamedTuple

from hostports.relay.client import RelayClient
from tests.e2e.site import Site, site

COUNTS: Final = (1, 100, 1_000, 10_000)
ROUNDS: Final = 5
FIRST_PORT: Final = 20_000
#: Descriptors that a daemon and a relay need besides those of ports.
OTHERS: Final = 200
#: Seconds, and megabytes of daemon and relay together with 10,000 ports.
BARS: Final[Mapping[int, float]] = {1_000: 0.3, 10_000: 3.0}
MEMORY_BAR: Final = 150


class Row(NamedTuple):
    """Medians of one number of ports."""

    ports: int
    publish: float
    unpublish: float
    daemon: float
    relay: float

    def __str__(self) -> str:
        bar = BARS.get(self.ports)
        verdict = "" if bar is None else f"{'pass' if self.publish <= bar else 'FAIL'} (<= {bar} s)"
        return (
            f"{self.ports:>8,}{self.publish:>12.4f}{self.unpublish:>12.4f}"
            f"{self.daemon:>12.0f}{self.relay:>12.0f}  {verdict}"
        )


def measured(made: Site, ports: int) -> Row:
    """Publish and unpublish so many ports a few times."""
    spec = f"{FIRST_PORT}-{FIRST_PORT + ports - 1}:{FIRST_PORT}-{FIRST_PORT + ports - 1}"
    publish, unpublish = [], []
    for _ in range(ROUNDS):
        start = perf_counter()
        bindings = made.publish("nat1", spec)
        publish.append(perf_counter() - start)
        if len(bindings) != 2 * ports:
            raise RuntimeError(f"{len(bindings)} bindings for {ports} ports")
        memory = [resident(pid) for pid in processes(made)]
        start = perf_counter()
        made.client.unpublish("nat1", [spec])
        unpublish.append(perf_counter() - start)
    return Row(ports, median(publish), median(unpublish), *memory)


def processes(made: Site) -> Iterator[int]:
    """The daemon and its relay."""
    yield made.daemon.process.pid
    with RelayClient(made.daemon.folder / "run" / "relay.sock") as relay:
        yield relay.hello().pid


def resident(pid: int) -> float:
    """Megabytes of memory that are a process's share (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kilobytes) / 1024


def main() -> None:
    """Print the table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{'ports':>8}{'publish':>12}{'unpublish':>12}{'daemon':>12}{'relay':>12}")
    print(f"{'':>8}{'seconds':>12}{'seconds':>12}{'PSS in MB':>12}{'PSS in MB':>12}")
    with TemporaryDirectory(prefix="hostports-bench-") as folder, site(Path(folder)) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        for ports in COUNTS:
            possible = min(ports, (most - OTHERS) // 2)
            if possible < ports:
                print(f"the limit of open files ({most:,}) allows but {possible:,} ports:")
            row = measured(made, possible)
            print(row)
    together = row.daemon + row.relay
    print(
        f"daemon and relay together: {together:.0f} MB (<= {MEMORY_BAR}: "
        f"{'pass' if together <= MEMORY_BAR else 'FAIL'})"
    )


if __name__ == "__main__":
    main()

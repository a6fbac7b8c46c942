"""A process that records without end: each call adds a group of bindings, and removes the last.

``python -m tests.store.writer state.sqlite3``; prints the number of each group that is recorded.
"""

import sys
from datetime import UTC, datetime
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.store.sqlite import SqliteStore

#: So many that a process is killed while it writes, rather than between two calls.
GROUP_SIZE = 400
NETWORK = BridgeNetwork("lab")
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"))


def group(number: int) -> list[PortBinding]:
    """The bindings of one call; the container port is the call's number."""
    return [
        PortBinding(
            network="lab",
            endpoint="web",
            protocol=Protocol.TCP,
            host_ip=IPv4Address("0.0.0.0"),
            host_port=port,
            container_ip=IPv4Address("172.30.0.2"),
            container_port=number,
        )
        for port in range(1, GROUP_SIZE + 1)
    ]


def main(path: Path) -> None:
    store = SqliteStore(path)
    store.record([NETWORK, WEB], at=datetime.now(UTC))
    for number in count(1):
        store.record(group(number), group(number - 1), at=datetime.now(UTC))
        print(number, flush=True)  # noqa: T201 - to whoever is going to kill us


if __name__ == "__main__":
    main(Path(sys.argv[1]))

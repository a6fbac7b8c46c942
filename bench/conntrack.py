"""Forgetting flows where many are tracked: of one port, of a thousand, of one container.

The entries are made by netlink in a network namespace; it wants root.
"""

from collections.abc import Callable
from ipaddress import ip_address
from time import perf_counter
from typing import Final

from hostports import Protocol
from hostports.core.flows import of_former
from hostports.linux.conntrack import LinuxConntrack
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import SocketAddress
from tests.netns.flows import Flowing, remember
from tests.netns.namespaces import Namespace, namespace

ENTRIES: Final = (10_000, 50_000, 100_000)
#: Of all ports, so many lead to one container, and have so many flows each.
PORTS, FLOWS = 1_000, 10
HOST, FIRST_PORT = "192.0.2.1", 2_000
WEB: Final = Endpoint("web", BridgeNetwork("lab"), ip_address("10.88.0.2"), namespace="/web")  # type: ignore[arg-type]


def flows(number: int) -> list[Flowing]:
    """Ten to each of a thousand ports that lead to our container; all the rest passes us by."""
    ours = [
        Flowing(f"198.51.100.{client}", 10_000 + port, HOST, FIRST_PORT + port, "10.88.0.2", 53)
        for port in range(PORTS)
        for client in range(FLOWS)
    ]
    others = [
        Flowing(f"10.1.{each >> 8 & 255}.{each & 255}", 1_024 + (each >> 16), "203.0.113.9", 53)
        for each in range(number - len(ours))
    ]
    return ours + others


def timed(host: Namespace, number: int, forget: Callable[[], int]) -> tuple[float, int]:
    """Seconds, and how many flows were forgotten, where so many are tracked."""
    with host.entered():
        remember(flows(number))
        start = perf_counter()
        forgotten = forget()
        return perf_counter() - start, forgotten


def to(ports: int) -> list[SocketAddress]:
    """The host's sockets of the first so many ports."""
    return [
        SocketAddress(Protocol.UDP, ip_address("0.0.0.0"), FIRST_PORT + each)
        for each in range(ports)
    ]


def main() -> None:
    """Each figure in a namespace of its own."""
    conntrack = LinuxConntrack()
    tasks: dict[str, Callable[[], int]] = {
        "one port": lambda: conntrack.forget(to(1)),
        "16 ports": lambda: conntrack.forget(to(16)),
        "1,000 ports": lambda: conntrack.forget(to(1_000)),
        "a container": lambda: conntrack.forget_if(of_former(WEB), [*WEB.addresses]),
        "all looked at": lambda: conntrack.forget_if(lambda _: False),
    }
    print(f"{'entries':>10}{'of':>16}{'forgotten':>12}{'seconds':>12}")
    for number in ENTRIES:
        for name, forget in tasks.items():
            with namespace([f"{HOST}/32"]) as host:
                seconds, forgotten = timed(host, number, forget)
            print(f"{number:10,}{name:>16}{forgotten:12,}{seconds:12.3f}", flush=True)


if __name__ == "__main__":
    main()

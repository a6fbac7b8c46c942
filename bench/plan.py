"""How planning grows with the number of specs: 10,000 in one call, and on up to 60,000.

Every figure is beside that of the smallest size in the same run: a cost per spec that stays about 1
means that planning is linear.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from time import perf_counter

from hostports import BridgeNetwork, Endpoint, PublishRequest, parse_spec
from hostports.core.expand import Circumstances, expand
from hostports.core.portbook import PortBook
from hostports.model.host import Host
from hostports.model.port import PortRange, PortSpec

SIZES = (1_000, 10_000, 30_000, 60_000)
ROUNDS = 3
ENDPOINT = Endpoint("web", BridgeNetwork("lab"), IPv4Address("172.19.0.2"), IPv6Address("fd00::2"))
AROUND = Circumstances(host=Host(dynamic_ports=PortRange(1, 65535)))

Texts = Callable[[int], list[str]]
KINDS: dict[str, Texts] = {
    "exact ports": lambda size: [f"{port}:{port}" for port in range(1, size + 1)],
    "dynamic ports": lambda size: [f"{port}/udp" for port in range(1, size + 1)],
    "two addresses": lambda size: [
        f"192.0.2.{10 + port % 2}:{port}:{port}" for port in range(1, size + 1)
    ],
}


def parse(texts: list[str]) -> list[PortSpec]:
    """All specs of some texts."""
    return [spec for text in texts for spec in parse_spec(text)]


def decide(request: PublishRequest, book: PortBook) -> None:
    """Give every spec of a request its ports."""
    for group in expand(request, AROUND).groups:
        book.enter(group, ENDPOINT, AROUND.host)


def seconds(texts: list[str]) -> float:
    """The best of some rounds of parsing and planning, both families."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = perf_counter()
        decide(PublishRequest(ENDPOINT, parse(texts)), PortBook())
        best = min(best, perf_counter() - start)
    return best


def main() -> None:
    """Print a line for each kind and size."""
    print(f"{'specs':16}{'number':>8}{'seconds':>10}{'per spec, to the smallest':>28}")
    for kind, texts in KINDS.items():
        smallest = 0.0
        for size in SIZES:
            took = seconds(texts(size))
            smallest = smallest or took / size
            print(f"{kind:16}{size:8,}{took:10.3f}{took / size / smallest:28.2f}")


if __name__ == "__main__":
    main()

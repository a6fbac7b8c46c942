"""Takes the picture of the web page in docs: ``python -m tests.e2e.picture`` (as root).

Real ports, real traffic, a real browser; it takes a minute, as that is what a sparkline shows.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Final

from tests.e2e.browser import browsing
from tests.e2e.site import Site, host_probe, site
from tests.netns.lab import Probe

PICTURE: Final = Path(__file__).parents[2] / "docs" / "ui.png"
_WIDTH: Final = 1400
_HEIGHT: Final = 620
#: Endpoints: their namespace, and what they publish.
_ENDPOINTS: Final = {
    "api": ("nat1", ["8080:80", "127.0.0.1:9001:81"]),
    "dns": ("nat2", ["5353:53/udp"]),
    "shop": ("other1", ["8443:80", "8081:81"]),
}
_MINUTE_S: Final = 62


def main() -> None:
    """Take the picture."""
    with TemporaryDirectory(prefix="hp-") as folder, site(Path(folder)) as made:
        _furnish(made)
        host = made.lab.namespaces["host"]
        with (
            made.client.page() as told,
            browsing(host, Path(folder) / "browser") as tab,
            _traffic(made),
        ):
            tab.prefer("light")
            tab.open(next(told)["url"])
            Event().wait(_MINUTE_S)
            PICTURE.write_bytes(tab.picture(_WIDTH, _HEIGHT))


def _furnish(made: Site) -> None:
    for network, subnet in (("front", "10.87.1.0/24"), ("shop", "10.87.2.0/24")):
        made.client.create_network(network, subnets=[subnet, f"fd87:{subnet[6]}::/64"])
    for name, (container, specs) in _ENDPOINTS.items():
        network = "shop" if name == "shop" else "front"
        netns = made.lab.namespaces[container].name
        made.client.add_endpoint(network, name, netns=netns)
        made.publish(name, *specs)


@contextmanager
def _traffic(made: Site) -> Iterator[None]:
    """Clients that come in waves."""
    over = Event()
    waves = [
        (host_probe("remote", 8080), 9.0),
        (host_probe("remote", 8443), 23.0),
        (host_probe("remote", 8443, version=6), 14.0),
        (host_probe("remote", 5353, protocol="udp"), 17.0),
        (host_probe("remote", 8081), 31.0),
    ]
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_make_waves, made, waves, over)
        try:
            yield
        finally:
            over.set()


def _make_waves(made: Site, waves: list[tuple[Probe, float]], over: Event) -> None:
    turn = 0
    while not over.wait(0.1):
        turn += 1
        probes = [
            probe for probe, period in waves for _ in range(round(2 + 2 * math.sin(turn / period)))
        ]
        made.answers(*probes)


if __name__ == "__main__":
    main()

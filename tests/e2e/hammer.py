"""A neighbour who sends where nobody may, all the time, while others flush the daemon's rules.

What arrives while there are no rules is counted: nothing holds it back then, for the kernel
forwards and there is nothing that forbids it. What was sent after the daemon said that it has
healed them must not arrive, not even as part of a flow that began in between.
``python -m tests.e2e.hammer``
"""

import argparse
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Final

from hostports.core.healing import BURST, EARNED_S
from tests.e2e.site import Site, site
from tests.netns.namespaces import nft
from tests.relay.waiting import PATIENCE_S

PORT: Final = 9999
#: Networks that forbid by different chains: before connection tracking, and behind it.
NETWORKS: Final[Mapping[str, Mapping[str, object]]] = {
    "nat": {},
    "other": {"masquerade": False},
    "routed": dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), "routed"),
}
#: Who sends to whom, and why that is forbidden.
PATHS: Final = {
    "direct": ("remote", "nat1", "a container's own address"),
    "no masquerade": ("remote", "other1", "a container's own address, where answers may come"),
    "routed": ("remote", "routed1", "a port that is not published"),
    "isolation": ("other1", "nat1", "another network's container"),
    "transit": ("remote", "trusted", "the host was no router before"),
}
#: Keeps connection tracking on while our table is away, as other tables do.
THEIRS: Final = (
    "add table inet theirs; add chain inet theirs c { type filter hook forward priority 10; };"
    "add rule inet theirs c ct state established counter"
)
#: What is done to the rules, by the firewall that the daemon has: commands, each one transaction.
WAYS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "nftables": (
        ("nft", "delete table inet hostports"),
        ("nft", "flush chain inet hostports forward"),
        ("nft", "flush chain inet hostports early"),
        ("nft", "flush map inet hostports to_bridge"),
        ("nft", f"flush ruleset; {THEIRS}"),
    ),
    "iptables": (
        ("iptables", "-F"),
        # The daemon may be back with its jumps before the second command.
        ("/bin/sh", "-c", "iptables -F; iptables -X || true"),
        ("nft", f"flush ruleset; {THEIRS}"),
        ("iptables", "-D", "FORWARD", "-j", "HP-FORWARD"),
        ("iptables", "-t", "raw", "-D", "PREROUTING", "-j", "HP-EARLY"),
    ),
}
_PACKET: Final = struct.Struct("!Qd")


@dataclass
class Way:
    """One forbidden path: its sockets, and when what arrived had been sent and was received."""

    sending: socket.socket
    listening: socket.socket
    to: tuple[str, int]
    sent: int = 0
    arrived: list[tuple[float, float]] = field(default_factory=list)
    answers: int = 0

    def send(self) -> None:
        """One datagram that knows when it was sent, always of the same flow."""
        self.sending.sendto(_PACKET.pack(self.sent, monotonic()), self.to)
        self.sent += 1

    def receive(self) -> None:
        """All that is there; a few times it is answered, by which the flow is established."""
        while True:
            try:
                got, sender = self.listening.recvfrom(100)
            except BlockingIOError:
                return
            self.arrived.append((_PACKET.unpack(got)[1], monotonic()))
            if self.answers:
                self.answers -= 1
                self.listening.sendto(b"established", sender)


@dataclass
class Count:
    """What came of flushes: seconds without rules, and what got through, by path."""

    gaps: list[float] = field(default_factory=list)
    sent: int = 0
    meanwhile: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PATHS, 0))
    afterwards: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PATHS, 0))


@contextmanager
def hammering(made: Site) -> Iterator[dict[str, Way]]:
    """Send on all forbidden paths, all the time."""
    with ExitStack() as stack:
        paths = {name: _path(made, stack, where, whom) for name, (where, whom, _) in PATHS.items()}
        end = Event()

        def hammer() -> None:
            while not end.is_set():
                for each in paths.values():
                    each.send()
                    each.receive()
                sleep(0.0005)

        thread = Thread(target=hammer)
        thread.start()
        try:
            yield paths
        finally:
            end.set()
            thread.join()


def _path(made: Site, stack: ExitStack, where: str, whom: str) -> Way:
    to = made.addresses[whom][4] if whom in made.addresses else "10.8.0.2"
    with made.lab.namespaces[whom].entered():
        listening = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # One socket would take the datagrams of two paths to one container.
        port = PORT if where == "remote" else PORT - 1
        listening.bind(("", port))
        listening.settimeout(0)
    with made.lab.namespaces[where].entered():
        sending = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    return Way(sending, listening, (to, port))


@contextmanager
def healings(made: Site) -> Iterator[list[float]]:
    """When the daemon said that it has made the rules anew."""
    times: list[float] = []
    with made.client.events() as events:

        def listen() -> None:
            for event in events:
                if event["event"] == "firewall.rebuilt":
                    times.append(monotonic())
                elif event["event"] == "network.removed":
                    return

        thread = Thread(target=listen)
        thread.start()
        try:
            yield times
        finally:
            made.client.create_network("end", internal=True)
            made.client.remove_network("end")
            thread.join()


def flush_again_and_again(made: Site, flushes: int, firewall: str = "nftables") -> Count:
    """Flush the rules, wait until they are healed, and count what arrived when."""
    with made.lab.namespaces["host"].entered():
        nft(THEIRS)
    count = Count()
    spans: list[tuple[float, float]] = []
    with hammering(made) as paths, healings(made) as healed:
        sleep(0.1)
        for number in range(flushes):
            before, began = len(healed), monotonic()
            for path in paths.values():
                path.answers = 2
            with made.lab.namespaces["host"].entered():
                subprocess.run(WAYS[firewall][number % len(WAYS[firewall])], check=True)
            wait_for(healed, before)
            spans.append((began, healed[-1]))
            count.gaps.append(healed[-1] - began)
            # So long that the daemon has another healing in hand.
            sleep(EARNED_S if flushes > BURST else 0.1)
    for name, path in paths.items():
        for sent, received in path.arrived:
            # A sender that has noted the time may have to wait for its turn.
            open_then = any(began <= received and sent <= ended for began, ended in spans)
            (count.meanwhile if open_then else count.afterwards)[name] += 1
    count.sent = sum(each.sent for each in paths.values())
    with made.lab.namespaces["host"].entered():
        nft("delete table inet theirs")
    return count


def wait_for(healed: list[float], before: int = 0) -> None:
    """Wait for one healing more."""
    deadline = monotonic() + PATIENCE_S
    while len(healed) == before:
        if monotonic() > deadline:
            raise TimeoutError("the rules were not healed")
        sleep(0.001)


def add_networks(made: Site) -> None:
    """Networks of all kinds, with ports published."""
    for network, settings in NETWORKS.items():
        made.client.create_network(network, **settings)
        made.add_container(f"{network}1")
        made.publish(f"{network}1", "80")


def explained(count: Count) -> str:
    """The count, as text."""
    gaps = sorted(count.gaps)
    lines = [
        f"{len(gaps)} flushes while {count.sent:,} datagrams were sent on forbidden paths; "
        f"without rules for {gaps[len(gaps) // 2] * 1e3:.0f} ms (median), "
        f"{gaps[-1] * 1e3:.0f} ms (longest)",
        f"{'path':16}{'meanwhile':>10}{'after healing':>15}  why it is forbidden",
    ]
    lines += [
        f"{name:16}{count.meanwhile[name]:10}{count.afterwards[name]:15}  {why}"
        for name, (*_, why) in PATHS.items()
    ]
    lines.append("meanwhile: the host forwards, and there is nothing that forbids it")
    return "\n".join(lines)


def main() -> int:
    """Flush, and print what came of it; 1 if anything got through after healing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flushes", type=int, default=50)
    parser.add_argument("--firewall", choices=WAYS, default="nftables")
    given = parser.parse_args()
    flags = ("--firewall", given.firewall)
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), *flags) as made:
        add_networks(made)
        count = flush_again_and_again(made, given.flushes, given.firewall)
    print(explained(count))  # noqa: T201 - what it is for
    return int(any(count.afterwards.values()))


if __name__ == "__main__":
    sys.exit(main())

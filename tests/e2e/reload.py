"""firewalld is reloaded again and again while clients come: how long a published port is away.

Every question is a flow of its own, as only the first packet of one meets the rules of the moment.
firewalld has the same kind of rules as the daemon: with nftables it leaves ours alone, and lets
nobody through meanwhile; with iptables it flushes all there is, several times for each reload.
``python -m tests.e2e.reload``
"""

import argparse
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread
from time import monotonic, sleep
from typing import Final

from tests.e2e.bus import FIREWALLD, Bus, Refused, private_bus, real_firewalld, site_on
from tests.e2e.site import Site
from tests.netns.lab import HOST_IPV4
from tests.relay.waiting import eventually

PORT: Final = 5353
FIREWALLS: Final = ("nftables", "iptables")
#: Seconds between questions, and for an answer.
_EVERY_S, _PATIENCE_S = 0.002, 1.0


class Questions:
    """What a client asks all the time: when each was asked, and which were answered."""

    def __init__(self, made: Site) -> None:
        self._remote = made.lab.namespaces["remote"]
        self._waiting: dict[float, socket.socket] = {}
        self.lost: list[float] = []
        self.answered = 0

    def ask(self) -> None:
        """Ask by a new flow, and see what the others have come to."""
        asked = monotonic()
        with self._remote.entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(0)
        client.connect((HOST_IPV4, PORT))
        client.send(b"?")
        self._waiting[asked] = client
        for each in list(self._waiting):
            self._look(each)

    def _look(self, asked: float) -> None:
        """Answered, lost, or still to be waited for."""
        try:
            self._waiting[asked].recv(100)
            self.answered += 1
        except BlockingIOError:
            if monotonic() < asked + _PATIENCE_S:
                return
            self.lost.append(asked)
        except OSError:  # refused by an ICMP message
            self.lost.append(asked)
        self._waiting.pop(asked).close()

    def finish(self) -> None:
        """Wait for the last answers."""
        while self._waiting:
            for each in list(self._waiting):
                self._look(each)
            sleep(_EVERY_S)


@contextmanager
def asking(made: Site) -> Iterator[Questions]:
    """Ask all the time, for the length of a block."""
    questions, end = Questions(made), Event()

    def ask() -> None:
        while not end.is_set():
            questions.ask()
            sleep(_EVERY_S)
        questions.finish()

    thread = Thread(target=ask)
    thread.start()
    try:
        yield questions
    finally:
        end.set()
        thread.join()


@contextmanager
def beside_firewalld(folder: Path, firewall: str) -> Iterator[tuple[Site, Bus]]:
    """A host with a port published, and with a firewalld of the same kind of rules."""
    with (
        private_bus(folder) as bus,
        ExitStack() as stack,
        site_on(bus, folder, stack, "--firewall", firewall) as made,
    ):
        host = made.lab.namespaces["host"]
        stack.enter_context(real_firewalld(bus, host, folder, firewall))
        made.daemon.start()
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", f"{PORT}:53/udp")
        yield made, bus


@dataclass
class Count:
    """For each reload: seconds that it took, and from the first lost question to the last one."""

    took: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)
    answered: int = 0
    lost: int = 0
    #: Times that firewalld's own programs failed, and it was told to reload once more.
    refused: int = 0


def reload_again_and_again(made: Site, bus: Bus, reloads: int) -> Count:
    """Reload, wait until clients are answered again, and count."""
    count = Count()
    spans: list[tuple[float, float]] = []
    with asking(made) as questions:
        see_answers(questions)
        questions.lost.clear()  # of the time before firewalld knew our zone
        for _ in range(reloads):
            began = monotonic()
            eventually(lambda: _reloaded(bus, count), "firewalld reloads")
            count.took.append(monotonic() - began)
            see_answers(questions)
            sleep(_PATIENCE_S)
            spans.append((began, monotonic()))
            # Another one has all its healings in hand.
            made.daemon.stop()
            made.daemon.start()
            see_answers(questions)
    count.away = [_away(questions.lost, *each) for each in spans]
    count.answered, count.lost = questions.answered, len(questions.lost)
    return count


def see_answers(questions: Questions) -> None:
    """Wait until clients have been answered for a while."""
    enough = questions.answered + 100
    eventually(lambda: questions.answered >= enough, "clients are answered")


def _reloaded(bus: Bus, count: Count) -> bool:
    """Whether it did; with iptables it fails if somebody else changes rules at the same instant."""
    try:
        bus.call(f"{FIREWALLD}.reload")
    except Refused:
        count.refused += 1
        return False
    return True


def _away(lost: Sequence[float], began: float, ended: float) -> float:
    those = [each for each in lost if began <= each < ended]
    return max(those) - min(those) + _EVERY_S if those else 0.0


def explained(firewall: str, count: Count) -> str:
    """The count, as text."""
    return (
        f"{firewall}: {len(count.took)} reloads of firewalld, while {count.answered:,} new clients "
        f"were answered and {count.lost:,} were not; {count.refused} more reloads failed\n"
        f"a reload took {_figures(count.took)}\na port was away for {_figures(count.away)}"
    )


def _figures(times: Sequence[float]) -> str:
    cut = quantiles(times, n=10, method="inclusive")
    return f"{cut[4] * 1e3:.0f} ms (p50), {cut[8] * 1e3:.0f} (p90), {max(times) * 1e3:.0f} (most)"


def main() -> None:
    """Reload, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reloads", type=int, default=30)
    parser.add_argument("--firewall", choices=FIREWALLS, default="nftables")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        beside_firewalld(Path(folder), given.firewall) as (made, bus),
    ):
        count = reload_again_and_again(made, bus, given.reloads)
    print(explained(given.firewall, count))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()

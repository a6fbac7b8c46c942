"""A host whose daemon is killed again and again while programs use it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from signal import SIGKILL
from threading import Event
from time import monotonic, sleep
from typing import Final

from hostports import Client
from tests.e2e.site import DAEMON, Daemon, leftovers
from tests.netns.lab import Lab
from tests.netns.namespaces import namespace, nft
from tests.relay.waiting import PATIENCE_S, eventually
from tests.survival.census import Census, processes
from tests.survival.doomed import STEPS
from tests.survival.workers import Worker

#: Programs, and containers of each.
_WORKERS, _CONTAINERS = 2, 2
#: A kill comes at any moment of so many seconds; a start takes about as long.
_WITHIN_S: Final = 0.6
#: A daemon that kills itself; its first argument is the doom.
DOOMED: Final = (DAEMON[0], "-m", "tests.survival.doomed")


@dataclass
class Host:
    """The host, its daemon, and whoever uses it."""

    census: Census
    workers: list[Worker]
    random: Random
    killed_at: float = 0.0
    relay_away_s: list[float] = field(default_factory=list)

    @property
    def daemon(self) -> Daemon:
        return self.census.daemon

    def serve(self, *doom: str) -> bool:
        """Start a daemon, and see that all is one again; False if it has killed itself before.

        With `doom` it will kill itself at that step.
        """
        self.daemon.launch(program=(*DOOMED, *doom) if doom else DAEMON)
        if self.daemon.serves():
            self.settle()
            return True
        assert self._ended() == -SIGKILL
        return False

    def settle(self) -> None:
        """See that everything is one again, and that it is what was answered."""
        facts = self.census.facts(self.census.check())
        for each in self.workers:
            each.settle(facts)

    def die_at(self, doom: str) -> None:
        """Let them work until the daemon kills itself at a step."""
        if self.serve(doom):
            self._work_until(self._ended)

    def kill_at_work(self) -> None:
        """Kill the daemon while they work, at any moment."""
        self.serve()
        self._work_until(partial(self._kill_soon, self.daemon.process.pid))

    def kill_at_start(self) -> None:
        """Kill a daemon that starts, at any moment until it serves."""
        self.daemon.launch()
        self._kill_soon(self.daemon.process.pid)

    def kill_both(self) -> None:
        """Kill daemon and relay while they work; which first is chance, too."""
        self.serve()
        both = [self.daemon.process.pid, self.relay()]
        self.random.shuffle(both)
        self._work_until(partial(self._kill_soon, *both))

    def flush(self) -> None:
        """Take all rules away, of ours and of others, while no daemon runs."""
        with self.census.lab.namespaces["host"].entered():
            nft("flush", "ruleset")

    def kill_relay(self) -> None:
        """Kill the relay while they work, and see that all is one when the next one serves."""
        self.serve()
        relay = self.relay()
        with self.daemon.client.events() as events:
            self._work_until(partial(self._kill_soon, relay))
            while next(events)["event"] != "relay.started":
                pass
            self.relay_away_s.append(monotonic() - self.killed_at)
        assert self.relay() != relay
        self.settle()
        self.daemon.kill()

    def lose_relay(self) -> None:
        """Kill the daemon while they work, and remove the relay's socket."""
        self.kill_at_work()
        (self.daemon.run / "relay.sock").unlink()

    def move(self) -> None:
        """Kill the daemon while they work; the next one has another ``--run``."""
        self.kill_at_work()
        folder = self.daemon.folder
        here, there = folder / "run", folder / "elsewhere"
        self.daemon.run = there if self.daemon.run == here else here

    @property
    def steps(self) -> tuple[str, ...]:
        """The calls of edges that its daemon makes."""
        relayed = self.daemon.relayed
        return tuple(each for each in STEPS if relayed or not each.startswith("relay."))

    def strikes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """All kinds in turn, mostly of the daemon at work; and what others do in between."""
        while True:
            yield "killed the daemon", self.kill_at_work
            yield "rules flushed while no daemon runs", self.flush
            yield "killed the daemon at its start", self.kill_at_start
            yield "killed the daemon", self.kill_at_work
            if self.daemon.relayed:
                yield "killed the relay", self.kill_relay
                yield "killed the daemon", self.kill_at_work
                yield "killed daemon and relay", self.kill_both
                # Now it has to start a relay, and to publish everything anew.
                yield "killed the daemon at its start without a relay", self.kill_at_start
                yield "killed the daemon, and removed the relay's socket", self.lose_relay
                yield "killed the daemon, and gave another --run", self.move
                # Now it has to find the relay of before.
                yield "killed the daemon at its start elsewhere", self.kill_at_start

    def relay(self) -> int:
        """The relay's process."""
        found = processes(self.census.lab).items()
        (pid,) = (pid for pid, name in found if name == "hostports.relay")
        return pid

    def _work_until(self, end: Callable[[], object]) -> None:
        """Let all work side by side until the end."""
        enough = Event()
        with ThreadPoolExecutor(len(self.workers)) as pool:
            working = [pool.submit(each.work, enough) for each in self.workers]
            try:
                end()
            finally:
                enough.set()
            for each in working:
                each.result()

    def _kill_soon(self, *processes: int) -> None:
        sleep(self.random.uniform(0, _WITHIN_S))
        self.killed_at = monotonic()
        for each in processes:
            os.kill(each, SIGKILL)

    def _ended(self) -> int:
        """Wait for the daemon's end, also to be rid of it; its exit status."""
        with self.daemon.process:
            return self.daemon.process.wait(PATIENCE_S)


@contextmanager
def host(folder: Path, seed: int, *flags: str) -> Iterator[Host]:
    """A host with a daemon that serves, and workers; in the end nothing of it may be left."""
    random = Random(seed)
    with ExitStack() as stack:
        names = ["host", *(f"c{number}" for number in range(_WORKERS * _CONTAINERS))]
        lab = Lab({name: stack.enter_context(namespace()) for name in names})
        for each in lab.namespaces.values():
            each.sysctl("net.ipv6.conf.default.accept_dad", "0")
        daemon = Daemon(lab, folder, flags)
        workers = [_worker(number, lab, daemon, random) for number in range(_WORKERS)]
        daemon.start()
        daemon.stop()
        try:
            yield Host(Census(lab, daemon), workers, random)
        finally:
            daemon.take_down()
        assert leftovers(lab) == []
        eventually(lambda: not processes(lab), "all processes have ended")


def _worker(number: int, lab: Lab, daemon: Daemon, random: Random) -> Worker:
    first = number * _CONTAINERS
    own = [lab.namespaces[f"c{first + each}"].name for each in range(_CONTAINERS)]
    modes = ("nat", "nat", "relay") if daemon.relayed else ("nat",)
    return Worker(number, Client(daemon.socket), tuple(own), modes, Random(random.random()))

"""Connections that do what they like, for a while, with every byte accounted for.

    python -m tests.relay.stress --connections 500 --seconds 30

The same seed makes the same plans; which of them meet is up to the machine.
"""

import argparse
import asyncio
import itertools
import secrets
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final

from tests.relay.lab import lab
from tests.relay.peers import reset
from tests.relay.proc import open_files
from tests.relay.relays import running_relay
from tests.relay.services import Service, serving
from tests.relay.stress_plans import Plan, Way

#: Seconds that a connection may take, which only one that hangs does.
_HANG_S: Final = 60
#: What a client says first, so that its server knows which plan to follow.
_NUMBER: Final = struct.Struct("I")


class Garbled(Exception):
    """What was read is not what was sent."""


class End:
    """One end of a connection, at work."""

    def __init__(self, peer: socket.socket, sends: Way, expects: Way) -> None:
        peer.settimeout(0)
        self._peer = peer
        self._sends = sends
        self._expects = expects
        self._loop = asyncio.get_running_loop()
        self._heard_all = asyncio.Event()

    async def run(self) -> str:
        """Follow the plan; how it came out: ``end``, ``reset``, ``hangs`` or ``garbled``."""
        reading = asyncio.create_task(self._read())
        outcome = "end"
        try:
            async with asyncio.timeout(_HANG_S):
                await self._write()
                await reading
        except TimeoutError:
            outcome = "hangs"
        except OSError:
            outcome = "reset"
        except Garbled as garbled:
            outcome = f"garbled: {garbled}"
        reading.cancel()
        with suppress(asyncio.CancelledError, OSError, Garbled):
            await reading
        if outcome != "end":
            reset(self._peer)
        self._peer.close()
        return outcome

    async def _write(self) -> None:
        way = self._sends
        if way.listens_first and way.reset_at is None:
            await self._heard_all.wait()
        for start in range(0, len(way.data), way.writing.piece):
            piece = way.data[start : start + way.writing.piece]
            if way.reset_at is not None and way.reset_at <= start + len(piece):
                break
            await self._loop.sock_sendall(self._peer, piece)
            await asyncio.sleep(way.writing.pause_s)
        if way.reset_at is not None:
            raise ConnectionAbortedError
        self._peer.shutdown(socket.SHUT_WR)

    async def _read(self) -> None:
        way, received = self._expects, 0
        try:
            while heard := await self._loop.sock_recv(self._peer, way.reading.piece):
                if heard != way.data[received : received + len(heard)]:
                    raise Garbled(f"{len(heard)} bytes after {received}")
                received += len(heard)
                await asyncio.sleep(way.reading.pause_s)
            if received < len(way.data):
                raise Garbled(f"the end after {received} of {len(way.data)} bytes")
        finally:
            self._heard_all.set()


class Stress:
    """A run: its connections, and how each of their ends came out."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._seed = seed
        self._numbers = itertools.count()
        self._clients: dict[int, str] = {}
        self._servers: dict[int, str] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self, connections: int, seconds: float) -> None:
        """Keep so many connections busy for so long, and let all come to their end."""
        deadline = monotonic() + seconds
        accepting = asyncio.create_task(self._accept())
        async with asyncio.TaskGroup() as workers:
            for _ in range(connections):
                workers.create_task(self._work(deadline))
        while self._serving:
            await asyncio.wait(self._serving)
        accepting.cancel()

    def faults(self) -> Iterator[str]:
        """Every connection that did not come out as planned."""
        for number, outcome in self._clients.items():
            plan = Plan.of(self._seed, number)
            expected = "reset" if plan.resets else "end"
            # A server need not have heard of a client that has reset its connection.
            missing = expected if plan.client.reset_at is not None else "never seen"
            outcomes = {"client": outcome, "server": self._servers.get(number, missing)}
            for who, seen in outcomes.items():
                if seen != expected:
                    yield f"connection {number}: {expected} planned, but {who} saw {seen}"

    def outcomes(self) -> Counter[str]:
        """How many clients saw which outcome."""
        return Counter(self._clients.values())

    async def _work(self, deadline: float) -> None:
        while monotonic() < deadline:
            number = next(self._numbers)
            plan = Plan.of(self._seed, number)
            with self._service.new_client() as client:
                client.sendall(_NUMBER.pack(number))
                self._clients[number] = await End(client, plan.client, plan.server).run()

    async def _accept(self) -> None:
        loop, listening = asyncio.get_running_loop(), self._service.server
        listening.settimeout(0)
        while True:
            accepted, _ = await loop.sock_accept(listening)
            task = asyncio.create_task(self._serve(accepted))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        header = b""
        with accepted, suppress(OSError):
            while len(header) < _NUMBER.size:
                more = await asyncio.get_running_loop().sock_recv(accepted, _NUMBER.size)
                if not more:
                    return
                header += more
            (number,) = _NUMBER.unpack(header)
            plan = Plan.of(self._seed, number)
            self._servers[number] = await End(accepted, plan.server, plan.client).run()


def stress(service: Service, connections: int, seconds: float, seed: int) -> list[str]:
    """A run; tells its seed and its outcomes, and gives what went wrong."""
    say(f"seed {seed}")
    run = Stress(service, seed)
    asyncio.run(run.run(connections, seconds))
    say(", ".join(f"{count} {outcome}" for outcome, count in run.outcomes().items()))
    return list(run.faults())


def say(line: str) -> None:
    """Tell whoever runs it, or reads of a test's failure."""
    print(line, flush=True)  # noqa: T201 - it has no other output


def main() -> int:
    """The long run, for ``make soak``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    chosen = parser.parse_args()
    with (
        TemporaryDirectory() as directory,
        open_files(4 * chosen.connections + 200),
        lab() as wired,
        running_relay(wired, Path(directory) / "relay.sock") as relay,
        serving(relay) as service,
    ):
        faults = stress(service, chosen.connections, chosen.seconds, chosen.seed)
    for fault in faults:
        say(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""A relay that may open no more files: it serves whom it has, and the others later."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostports.model.port import Protocol
from tests.relay.lab import Lab
from tests.relay.peers import BLOCK, read_exactly
from tests.relay.proc import Process
from tests.relay.relays import RunningRelay, running_relay, watched
from tests.relay.services import answered, echoing, serving
from tests.relay.waiting import eventually, settled

#: Starts a relay that may open few files, and stays its parent: control socket, most files.
START_CRAMPED = """
import resource, sys
from pathlib import Path
from hostports.relay.launch import start_relay
most = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
relay = start_relay(Path(sys.argv[1]))
print(relay.pid, flush=True)
sys.exit(relay.wait())
"""
CLIENTS = 40
Cramped = Callable[[Lab, Path], AbstractContextManager[RunningRelay]]


@contextmanager
def started_so(lab: Lab, path: Path) -> Iterator[RunningRelay]:
    """A relay that was started with a low limit, which it may know."""
    command = [sys.executable, "-c", START_CRAMPED, str(path), "40"]
    with (
        lab.host.entered(),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout
        pid = int(parent.stdout.readline())
        try:
            with watched(lab, path, pid) as relay:
                yield relay
            assert parent.wait(20) == 0
        except BaseException:
            Process(pid).kill()
            raise


@contextmanager
def limited_later(lab: Lab, path: Path) -> Iterator[RunningRelay]:
    """A relay that runs into a limit which it doesn't know of."""
    with running_relay(lab, path) as relay, relay.process.limited_descriptors(20):
        yield relay


CRAMPED = pytest.mark.parametrize("cramped", [started_so, limited_later])


def processor_share(process: Process, seconds: float = 1.0) -> float:
    """Which part of a while a process was busy."""
    used, since = process.processor_time(), monotonic()
    sleep(seconds)
    return (process.processor_time() - used) / (monotonic() - since)


@CRAMPED
def test_without_descriptors_clients_wait_for_others_to_go(
    lab: Lab, control_path: Path, cramped: Cramped
) -> None:
    with (
        cramped(lab, control_path) as relay,
        serving(relay) as service,
        echoing(service.server),
    ):
        waiting = [service.connect() for _ in range(CLIENTS)]
        for client in waiting:
            client.sendall(b"question")
        eventually(lambda: answered(waiting), "somebody served")
        assert 1 <= settled(lambda: len(answered(waiting))) < CLIENTS
        assert processor_share(relay.process) < 0.5
        while waiting:
            eventually(lambda: answered(waiting), "another client served")
            for client in answered(waiting):
                assert read_exactly(client, 8) == b"question"
                client.close()
                waiting.remove(client)


@CRAMPED
def test_without_descriptors_connections_that_are_there_go_on(
    lab: Lab, control_path: Path, cramped: Cramped
) -> None:
    """A bulk transfer, too, which would rather have a pipe."""
    with cramped(lab, control_path) as relay, serving(relay) as service:
        client, server = service.join()
        others = [service.connect() for _ in range(CLIENTS)]
        count = settled(lambda: relay.process.descriptors().total())
        with ThreadPoolExecutor(1) as pool:
            for one, other in [(client, server), (server, client)]:
                pool.submit(one.sendall, BLOCK * 8)
                assert read_exactly(other, len(BLOCK) * 8) == BLOCK * 8
        assert relay.process.descriptors().total() <= count
        for each in others:
            each.close()


def test_without_descriptors_known_clients_of_datagrams_are_served(relay: RunningRelay) -> None:
    """And new ones as soon as there is a descriptor for them."""
    with serving(relay, Protocol.UDP) as service, echoing(service.server):
        known, new = service.connect(), service.connect()
        assert asks(known)
        with relay.process.limited_descriptors(0):
            for _ in range(100):
                new.send(b"question")
            assert asks(known)
            assert processor_share(relay.process, 0.5) < 0.5
            assert not answered([new])
        assert asks(new)


def asks(client: socket.socket) -> bool:
    client.send(b"question")
    return client.recv(100) == b"question"

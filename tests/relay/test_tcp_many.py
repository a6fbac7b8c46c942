"""Many connections: slow ones, idle ones, and short ones."""

import socket
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hostports.model.relay import RelayCounters
from tests.relay.lab import Lab
from tests.relay.peers import (
    BLOCK,
    STUCK_LIMIT,
    Bulk,
    read_all,
    read_exactly,
    receive_bulk,
    reset,
    send_and_end,
    send_until_stuck,
)
from tests.relay.proc import open_files
from tests.relay.relays import KEPT, RunningRelay, running_relay
from tests.relay.services import Service, echoing, serving
from tests.relay.waiting import eventually

MIB = 1 << 20
Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize("who", ["client", "container"])
def test_a_slow_reader_stops_the_sender_and_costs_no_memory(
    web: Service, relay: RunningRelay, who: str
) -> None:
    """The kernel's buffers are all there is; and other connections go on."""
    ends = [web.join() for _ in range(4)]
    pairs = [(a, b) if who == "client" else (b, a) for a, b in ends]
    before = relay.process.memory()
    with ThreadPoolExecutor(len(pairs)) as pool:
        sent = list(pool.map(send_until_stuck, [sender for _, sender in pairs]))
        assert max(sent) < STUCK_LIMIT
        assert relay.process.memory() - before < 16 * MIB
        client, server = web.join()
        client.sendall(b"meanwhile")
        assert server.recv(100) == b"meanwhile"
        for _, sender in pairs:
            sender.shutdown(socket.SHUT_WR)
        received = pool.map(receive_bulk, [reader for reader, _ in pairs])
        assert list(received) == [Bulk.of(each) for each in sent]


def test_idle_connections_hold_no_more_descriptors_after_a_bulk_transfer(
    web: Service, relay: RunningRelay
) -> None:
    with ThreadPoolExecutor(1) as pool:
        pairs = [web.join() for _ in range(KEPT["pipe"])]
        for one, other in pairs:
            pool.submit(one.sendall, BLOCK * 2)
            assert read_exactly(other, len(BLOCK) * 2) == BLOCK * 2
    eventually(lambda: relay.process.descriptors()["pipe"] <= KEPT["pipe"], "pipes given back")


def test_ten_thousand_idle_connections_all_still_work(lab: Lab, control_path: Path) -> None:
    """Each takes two descriptors here and two in the relay: fewer, where the host allows fewer."""
    with open_files(20_400) as allowed, running_relay(lab, control_path) as relay:
        count = min(10_000, (allowed - 400) // 2)
        if count < 10_000:
            warnings.warn(f"the limit of open files allows but {count}", stacklevel=1)
        with serving(relay) as service:
            pairs = joined_many(service, count)
            eventually(lambda: service.counters().open == count, "all counted")
            for number, (client, _) in enumerate(pairs):
                client.sendall(struct.pack("I", number))
            for _, server in pairs:
                server.sendall(server.recv(100))
            for number, (client, _) in enumerate(pairs):
                assert client.recv(100) == struct.pack("I", number)
            for pair in pairs:
                reset(pair[0])
            eventually(lambda: service.counters().open == 0, "all closed")


def joined_many(service: Service, count: int, at_once: int = 100) -> list[Pair]:
    """Many connections, at last idle; the container's ends are in no order."""
    pairs: list[Pair] = []
    while len(pairs) < count:
        clients = [service.connect() for _ in range(min(at_once, count - len(pairs)))]
        pairs += [(client, service.accept()) for client in clients]
    return pairs


def test_many_short_connections_are_all_answered(web: Service) -> None:
    def ask(number: int) -> bool:
        with web.connect() as client:
            question = b"%d" % number
            send_and_end(client, question)
            return read_all(client) == question

    with echoing(web.server) as met, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(4000)))
        assert len(met) == 4000
    eventually(lambda: web.counters().open == 0, "all closed")
    size = sum(len(str(number)) for number in range(4000))
    assert web.counters() == RelayCounters(
        opened=4000, bytes_to_container=size, bytes_to_client=size
    )

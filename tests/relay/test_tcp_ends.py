"""Connections that don't end well: whoever breaks one, the other side is told so."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostports.model.port import Protocol
from hostports.model.relay import RelaySettings
from tests.relay.lab import CONTAINER_IPV4, HOST_IPV4, Lab
from tests.relay.peers import (
    BLOCK,
    STUCK_LIMIT,
    Bulk,
    connected,
    ending,
    fate,
    read_all,
    read_exactly,
    receive_bulk,
    reset,
    send_and_end,
    send_bulk,
    send_until_stuck,
)
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import Service, serving
from tests.relay.waiting import eventually

MIB = 1 << 20
SIDES = pytest.mark.parametrize("who", ["client", "container"])

#: A server that says something, then reads no more, and waits to be killed.
DEAF_SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
peer, _ = server.accept()
peer.sendall(b"hello")
sys.stdin.read()
"""


def breaker_first(service: Service, who: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection; first the one that shall break it."""
    client, server = service.join()
    return (client, server) if who == "client" else (server, client)


@SIDES
def test_a_reset_of_one_is_a_reset_for_the_other(web: Service, who: str) -> None:
    breaker, other = breaker_first(web, who)
    breaker.sendall(b"well then")
    assert other.recv(100) == b"well then"
    reset(breaker)
    with pytest.raises(ConnectionResetError):
        other.recv(1)


@SIDES
def test_a_reset_after_the_other_has_ended_is_still_a_reset(web: Service, who: str) -> None:
    breaker, other = breaker_first(web, who)
    send_and_end(other, b"question")
    assert read_all(breaker) == b"question"
    reset(breaker)
    with pytest.raises(ConnectionResetError):
        other.recv(1)


@SIDES
def test_a_reset_amid_data_that_nobody_reads_is_a_reset(web: Service, who: str) -> None:
    breaker, other = breaker_first(web, who)
    send_until_stuck(breaker)
    reset(breaker)
    assert ending(other) == "reset"


@SIDES
def test_a_reset_reaches_a_sender_that_is_stuck(web: Service, who: str) -> None:
    breaker, other = breaker_first(web, who)
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(other.sendall, BLOCK * 100)
        assert breaker.recv(1) == BLOCK[:1]
        reset(breaker)
        with pytest.raises(ConnectionError):
            stuck.result()


@SIDES
def test_what_a_broken_connection_leaves_behind_reaches_nobody_else(web: Service, who: str) -> None:
    """The relay was about to pass it on, by means that the next connection uses again."""
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            breaker, other = breaker_first(web, who)
            stuck = pool.submit(send_bulk, other, STUCK_LIMIT)
            assert read_exactly(breaker, len(BLOCK)) == BLOCK
            reset(breaker)
            assert isinstance(stuck.exception(), ConnectionError)
            reader, sender = breaker_first(web, who)
            pool.submit(send_bulk, sender, 2 * MIB)
            assert receive_bulk(reader) == Bulk.of(2 * MIB)


@SIDES
def test_who_closes_amid_what_the_other_says_leaves_nobody_hanging(web: Service, who: str) -> None:
    """An answer that nobody takes any more is refused by the kernel, and that must get through."""
    breaker, other = breaker_first(web, who)
    breaker.close()
    assert other.recv(1) == b""
    with pytest.raises(ConnectionError):  # noqa: PT012 - which of them meets the reset is open
        while True:
            other.sendall(BLOCK)


def test_a_container_that_is_killed_resets_its_clients(relay: RunningRelay) -> None:
    with deaf_server(relay.lab, 8080) as process:
        relay.publish(Protocol.TCP, "0.0.0.0", 8080, CONTAINER_IPV4, 8080)
        with connected(relay.lab.client, HOST_IPV4, 8080) as client:
            assert read_exactly(client, 5) == b"hello"
            send_until_stuck(client)
            process.kill()
            assert ending(client) == "reset"


@contextmanager
def deaf_server(lab: Lab, port: int) -> Iterator["subprocess.Popen[str]"]:
    """A server in the container that is a process of its own."""
    command = [sys.executable, "-c", DEAF_SERVER, CONTAINER_IPV4, str(port)]
    with (
        lab.container.entered(),
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_container_that_refuses_resets_the_client_who_never_sees_an_end(
    relay: RunningRelay,
) -> None:
    """An end would look like an empty answer."""
    binding = relay.publish(Protocol.TCP, "0.0.0.0", 8080, CONTAINER_IPV4, 8080)
    for _ in range(20):
        assert fate(lambda: connected(relay.lab.client, HOST_IPV4, 8080)) == "reset"
    assert relay.counters(binding).failed == 20


@pytest.mark.parametrize("ip", ["172.20.0.99", "203.0.113.1"], ids=["no-neighbour", "no-route"])
def test_a_container_that_does_not_exist_resets_the_client(relay: RunningRelay, ip: str) -> None:
    binding = relay.publish(Protocol.TCP, "0.0.0.0", 8080, ip, 8080)
    assert fate(lambda: connected(relay.lab.client, HOST_IPV4, 8080)) == "reset"
    assert relay.counters(binding).failed == 1


def full(service: Service) -> socket.socket:
    """Fill the container's queue of waiting connections, so that it answers nobody else."""
    return connected(service.relay.lab.host, CONTAINER_IPV4, service.binding.container_port)


def test_a_container_that_never_answers_resets_the_client_after_a_time(
    lab: Lab, control_path: Path
) -> None:
    settings = RelaySettings(connect_timeout_s=0.5)
    with (
        running_relay(lab, control_path, settings) as relay,
        serving(relay, backlog=0) as service,
        full(service),
    ):
        clients = [service.connect() for _ in range(5)]
        assert [ending(each) for each in clients] == ["reset"] * 5
        eventually(lambda: service.counters().failed == 5, "five failures counted")


def test_a_container_that_answers_late_gets_all_that_was_said(relay: RunningRelay) -> None:
    with serving(relay, backlog=0) as service, full(service):
        client = service.connect()
        send_and_end(client, b"patience")
        service.accept()
        assert read_all(service.accept()) == b"patience"


def test_a_client_that_resets_before_the_container_has_answered_is_forgotten(
    relay: RunningRelay,
) -> None:
    with serving(relay, backlog=0) as service, full(service):
        before = relay.process.descriptors()["socket"]
        clients = [service.connect() for _ in range(5)]
        eventually(lambda: relay.process.descriptors()["socket"] > before + 5, "dialling")
        for client in clients:
            reset(client)
        eventually(lambda: relay.process.descriptors()["socket"] == before, "given up")


def test_a_client_that_closes_before_the_container_has_answered_is_forgotten(
    lab: Lab, control_path: Path
) -> None:
    """It may only have ended its question, so the relay goes on dialling until the time is up."""
    settings = RelaySettings(connect_timeout_s=0.5)
    with (
        running_relay(lab, control_path, settings) as relay,
        serving(relay, backlog=0) as service,
        full(service),
    ):
        before = relay.process.descriptors()["socket"]
        for _ in range(5):
            service.connect().close()
        eventually(lambda: service.counters().failed == 5, "five failures counted")
        eventually(lambda: relay.process.descriptors()["socket"] == before, "given up")

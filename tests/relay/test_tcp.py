"""Connections that are relayed: every byte arrives, in order, and so does the end."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from tests.relay.lab import (
    BRIDGE_IPV4,
    lab,
)
from tests.relay.peers import (
    BLOCK,
    Bulk,
    connected,
    read_all,
    read_exactly,
    receive_bulk,
    send_and_end,
    send_bulk,
)
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import FAMILIES, Service, serving

MIB = 1 << 20


@FAMILIES
def test_a_question_is_answered_in_every_family(
    relay: RunningRelay, host_ip: str, container_ip: str, bridge_ip: str
) -> None:
    with serving(relay, host_ip=host_ip, container_ip=container_ip) as service:
        client, server = service.join()
        assert server.getpeername()[0] == bridge_ip
        send_and_end(client, b"question")
        assert read_all(server) == b"question"
        send_and_end(server, b"answer")
        assert read_all(client) == b"answer"


@pytest.mark.parametrize("host_ip", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_cve_2021_20199_a_container_never_sees_a_client_as_its_own_loopback(
    relay: RunningRelay, host_ip: str
) -> None:
    """A database that trusts 127.0.0.1 would trust the world."""
    loopback = "::1" if ":" in host_ip else "127.0.0.1"
    with serving(relay, host_ip=host_ip) as service, connected(relay.lab.host, loopback, 8080):
        seen, _ = service.accept().getpeername()
        assert seen == BRIDGE_IPV4


def test_a_server_may_speak_first(web: Service) -> None:
    client, server = web.join()
    server.sendall(b"220 ready")
    assert client.recv(100) == b"220 ready"
    client.sendall(b"HELO")
    assert server.recv(100) == b"HELO"


def test_what_a_client_ends_at_once_still_gets_its_answer(web: Service) -> None:
    """Half-close: the end of the question, and only that."""
    client, server = web.join()
    send_and_end(client, b"question")
    assert read_all(server) == b"question"
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"
    server.sendall(b", and more")
    server.close()
    assert read_all(client) == b", and more"


def test_what_a_container_ends_at_once_still_hears_more(web: Service) -> None:
    client, server = web.join()
    send_and_end(server, b"greeting")
    assert read_all(client) == b"greeting"
    for _ in range(10):
        client.sendall(b"more")
        assert read_exactly(server, 4) == b"more"
    client.close()
    assert read_all(server) == b""


@pytest.mark.parametrize("size", [0, 1, 1448, 32768, 65536, 200_000])
def test_an_end_that_comes_with_the_last_data_is_not_lost(web: Service, size: int) -> None:
    """In one segment, both show as one event; many times, for it's a race."""
    for _ in range(100):
        client, server = web.join()
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            send_and_end(one, BLOCK[:size])
            assert read_all(other) == BLOCK[:size]
        client.close()
        server.close()


def test_a_bulk_of_data_arrives_whole_both_ways_at_once(web: Service) -> None:
    client, server = web.join()
    with ThreadPoolExecutor(4) as pool:
        for each in (client, server):
            pool.submit(send_bulk, each, 160 * MIB)
        received = pool.map(receive_bulk, (client, server))
        assert list(received) == [Bulk.of(160 * MIB)] * 2


def test_small_messages_and_bulk_take_turns_on_one_connection(web: Service) -> None:
    """What moves bulk must give way again to what moves a byte at once."""
    client, server = web.join()
    with ThreadPoolExecutor(1) as pool:
        for one, other in [(client, server), (server, client)] * 3:
            for _ in range(20):
                one.sendall(b"ping")
                assert read_exactly(other, 4) == b"ping"
            pool.submit(one.sendall, BLOCK * 8)
            assert read_exactly(other, len(BLOCK) * 8) == BLOCK * 8


def test_segments_of_a_byte_arrive_in_order(web: Service) -> None:
    client, server = web.join()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = BLOCK[:20_000]
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(read_all, server)
        for byte in data:
            client.send(bytes([byte]))
        client.shutdown(socket.SHUT_WR)
        assert received.result() == data


def test_a_slow_writer_is_heard_byte_by_byte(web: Service) -> None:
    """Nothing waits in the relay for more to come."""
    client, server = web.join()
    for one, other in [(client, server), (server, client)] * 50:
        one.send(b"x")
        assert other.recv(100) == b"x"


def test_what_a_client_said_before_the_container_accepted_is_not_lost(relay: RunningRelay) -> None:
    with serving(relay) as service:
        clients = [service.connect() for _ in range(50)]
        for number, client in enumerate(clients):
            send_and_end(client, b"%d" % number)
        heard = {read_all(service.accept()) for _ in clients}
        assert heard == {b"%d" % number for number in range(50)}


@pytest.mark.parametrize("side", ["client", "container"])
def test_small_messages_are_sent_at_once_and_dead_peers_are_noticed(
    web: Service, relay: RunningRelay, side: str
) -> None:
    client, server = web.join()
    local = {"client": client, "container": server}[side].getsockname()
    with relay.process.connection_to(local) as ours:
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_transfer_goes_on_after_the_containers_link_was_gone_for_a_moment(
    control_path: Path,
) -> None:
    with lab() as own, running_relay(own, control_path) as relay, serving(relay) as service:
        client, server = service.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(send_bulk, client, 64 * MIB)
            assert read_exactly(server, len(BLOCK)) == BLOCK
            own.set_link(own.container, "eth0", state="down")
            sleep(0.3)  # long enough for segments to be lost
            own.set_link(own.container, "eth0", state="up")
            assert receive_bulk(server) == Bulk.of(64 * MIB - len(BLOCK))

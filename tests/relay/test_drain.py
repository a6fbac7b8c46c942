"""Ports that are given up: at once, or when those who are there have gone."""

import socket
from pathlib import Path

import pytest

from hostports.errors import RelayFailed
from hostports.model.port import Protocol
from hostports.relay.client import RelayClient
from hostports.relay.wire import Frame, Kind
from tests.relay.bare import Stranger, started
from tests.relay.bulk import prepared
from tests.relay.lab import HOST_IPV4, Lab
from tests.relay.peers import bound, ending, exchange, read_all
from tests.relay.relays import RunningRelay
from tests.relay.services import Service, answered, serving
from tests.relay.waiting import PATIENCE_S, eventually, settled

#: Seconds that no test waits for.
LONG_S = 3600


def refused(service: Service) -> bool:
    """Whether a client finds that nobody listens."""
    try:
        service.new_client().close()
    except ConnectionRefusedError:
        return True
    return False


def test_while_a_port_drains_new_clients_are_refused_and_connections_go_on(
    relay: RunningRelay, web: Service
) -> None:
    client, server = web.join()
    relay.control.drain([web.binding], LONG_S)
    eventually(lambda: refused(web), "the port is shut")
    for _ in range(10):
        assert exchange(client, server)
        assert refused(web)
    (held,) = relay.control.held()
    assert (held.binding, held.draining, held.counters.open) == (web.binding, True, 1)


def test_a_port_that_drains_is_no_longer_held_after_its_last_connection(
    relay: RunningRelay, web: Service
) -> None:
    first, second = web.join(), web.join()
    relay.control.drain([web.binding], LONG_S)
    for client, server in (first, second):
        assert web.counters().open > 0
        assert exchange(client, server)
        client.close()
        assert read_all(server) == b""
        server.close()
    eventually(lambda: relay.control.held() == [], "nothing held")


def test_a_port_without_connections_is_drained_at_once(relay: RunningRelay, web: Service) -> None:
    relay.control.drain([web.binding], LONG_S)
    assert relay.control.held() == []
    eventually(lambda: refused(web), "the port is shut")


def test_connections_that_outlast_their_time_are_reset(relay: RunningRelay, web: Service) -> None:
    pairs = [web.join() for _ in range(3)]
    relay.control.drain([web.binding], 0.5)
    assert [ending(each) for pair in pairs for each in pair] == ["reset"] * 6
    assert relay.control.held() == []


def test_other_ports_are_none_of_a_drains_business(relay: RunningRelay, web: Service) -> None:
    with serving(relay, port=8081) as other:
        client, server = other.join()
        gone, _ = web.join()
        relay.control.drain([web.binding], 0)
        assert ending(gone) == "reset"
        assert exchange(client, server)
        assert exchange(*other.join())


@pytest.mark.parametrize("seconds", [1e7, 1e9, 1e300])
def test_time_without_end_is_time_enough(relay: RunningRelay, web: Service, seconds: float) -> None:
    """The relay must not choke on more than its timers can take (epoll_wait(2): 24 days)."""
    client, server = web.join()
    relay.control.drain([web.binding], seconds)
    assert exchange(client, server)
    settled(lambda: web.counters().open)
    assert exchange(client, server)


def test_known_clients_of_a_udp_port_that_drains_are_served_and_new_ones_are_not(
    relay: RunningRelay,
) -> None:
    with serving(relay, Protocol.UDP) as dns:
        known, new = dns.connect(), dns.connect()
        known.send(b"early")
        _, seen = dns.server.recvfrom(100)
        relay.control.drain([dns.binding], LONG_S)
        for _ in range(10):
            new.send(b"let me in")
            known.send(b"question")
            assert dns.server.recvfrom(100) == (b"question", seen)
            dns.server.sendto(b"answer", seen)
            assert known.recv(100) == b"answer"
        assert not answered([dns.server, new])
        (held,) = relay.control.held()
        assert (held.draining, held.counters.open, held.counters.opened) == (True, 1, 1)


def test_udp_sessions_that_outlast_their_time_are_over_and_the_port_is_free(
    relay: RunningRelay,
) -> None:
    with serving(relay, Protocol.UDP) as dns:
        client = dns.connect()
        client.send(b"question")
        assert dns.server.recv(100) == b"question"
        relay.control.drain([dns.binding], 0.5)
        assert is_bound(relay, dns)
        eventually(lambda: relay.control.held() == [], "nothing held")
        assert not is_bound(relay, dns)


def is_bound(relay: RunningRelay, dns: Service) -> bool:
    """Whether the port belongs to somebody."""
    try:
        bound(relay.lab.host, socket.SOCK_DGRAM, HOST_IPV4, dns.binding.host_port).close()
    except OSError:
        return True
    return False


def test_a_relay_that_is_stopped_resets_its_connections_and_ends_well(
    lab: Lab, control_path: Path
) -> None:
    with started(lab.host, control_path) as process, RelayClient(control_path) as control:
        relay = RunningRelay(lab, control, process.pid)
        with serving(relay) as web, serving(relay, port=8081) as draining:
            pairs = [web.join(), draining.join()]
            control.drain([draining.binding], LONG_S)
            control.stop()
            assert process.wait(PATIENCE_S) == 0
            assert [ending(each) for pair in pairs for each in pair] == ["reset"] * 4
            assert refused(web)
        with pytest.raises(RelayFailed, match="can't be reached"):
            control.held()


def test_a_relay_stops_though_another_daemon_reads_no_answer(lab: Lab, control_path: Path) -> None:
    with (
        started(lab.host, control_path) as process,
        RelayClient(control_path) as control,
        prepared(lab, 5000) as bindings,
        Stranger(control_path) as deaf,
    ):
        control.add(bindings)
        deaf.tell(Frame(Kind.HELD))
        eventually(lambda: answered([deaf.connection]), "the beginning of an answer")
        control.stop()
        assert process.wait(PATIENCE_S) == 0

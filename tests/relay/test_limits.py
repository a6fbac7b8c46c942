"""Limits and allowlists: who has to wait, who makes room, and who never gets through."""

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from hostports.model.port import Protocol
from hostports.model.relay import RelaySettings
from tests.relay.lab import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    SECOND_CLIENT_IPV4,
    SECOND_CLIENT_IPV6,
    Lab,
)
from tests.relay.peers import fate, read_exactly
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import Service, answered, echoing, serving
from tests.relay.waiting import eventually, settled

ALLOWED = pytest.mark.parametrize(
    ("host_ip", "allow_from", "source", "other"),
    [
        ("0.0.0.0", "192.0.2.0/29", CLIENT_IPV4, SECOND_CLIENT_IPV4),
        ("::", "fd00:c::/124", CLIENT_IPV6, SECOND_CLIENT_IPV6),
    ],
)


def asking(service: Service, count: int) -> list[socket.socket]:
    """Clients that have asked something, whether they are served or wait."""
    clients = [service.connect() for _ in range(count)]
    for client in clients:
        client.sendall(b"question")
    return clients


def served(clients: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """The clients that have been answered; they must be so many, and no more."""
    eventually(lambda: len(answered(clients)) >= count, f"{count} answers")
    assert settled(lambda: len(answered(clients))) == count
    return answered(clients)


def test_above_the_limit_of_a_binding_clients_wait_until_others_go(
    lab: Lab, control_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = RelaySettings(connections_per_binding=3)
    with (
        running_relay(lab, control_path, settings) as relay,
        serving(relay) as full,
        serving(relay, port=8081) as free,
        echoing(full.server),
        echoing(free.server),
    ):
        clients = asking(full, 6)
        first = served(clients, 3)
        assert full.counters().open == 3
        assert str(full.binding) in capfd.readouterr().err
        served(asking(free, 3), 3)
        first[0].close()
        clients.remove(first[0])
        served(clients, 3)
        for client in first[1:]:
            client.close()
            clients.remove(client)
        served(clients, 3)


def test_above_the_limit_of_the_relay_clients_wait_until_others_go(
    lab: Lab, control_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also when it is another binding's client that goes."""
    with (
        running_relay(lab, control_path, RelaySettings(connections=3)) as relay,
        serving(relay) as one,
        serving(relay, port=8081) as other,
        echoing(one.server),
        echoing(other.server),
    ):
        first = served(asking(one, 3), 3)
        waiting = asking(other, 2)
        served(waiting, 0)
        assert str(other.binding) in capfd.readouterr().err
        first[0].close()
        served(waiting, 1)
        first[1].close()
        served(waiting, 2)


def test_who_is_waited_for_long_is_served_whole(lab: Lab, control_path: Path) -> None:
    """A hundred clients through a gap for two, one after the other."""
    with (
        running_relay(lab, control_path, RelaySettings(connections=2)) as relay,
        serving(relay) as service,
        echoing(service.server),
    ):
        waiting = asking(service, 100)
        while waiting:
            eventually(lambda: answered(waiting), "another client served")
            for client in answered(waiting):
                assert read_exactly(client, 8) == b"question"
                client.close()
                waiting.remove(client)
        eventually(lambda: service.counters().open == 0, "all closed")
        assert service.counters().opened == 100


def test_above_the_limit_of_sessions_the_one_that_is_idle_longest_makes_room(
    lab: Lab, control_path: Path
) -> None:
    """It is not forgotten for good: its next datagram opens a session anew."""
    settings = RelaySettings(sessions_per_binding=3)
    with (
        running_relay(lab, control_path, settings) as relay,
        serving(relay, Protocol.UDP) as service,
    ):
        a, b, c, d = (service.connect() for _ in range(4))
        before = [seen_as(service, each) for each in (a, b, c)]
        assert seen_as(service, a) == before[0]
        newest = seen_as(service, d)
        kept = [seen_as(service, each) for each in (a, c, d)]
        assert kept == [before[0], before[2], newest]
        eventually(lambda: service.counters().opened == 4, "four sessions opened")
        assert service.counters().open == 3
        again = seen_as(service, b)
        service.server.sendto(b"welcome back", again)
        assert b.recv(100) == b"welcome back"
        assert service.counters().open == 3
        assert service.counters().opened == 5


def seen_as(service: Service, client: socket.socket) -> tuple[str, int]:
    """The address from which the container sees a client."""
    client.send(b"%d" % client.fileno())
    heard, (ip, port) = service.server.recvfrom(100)
    assert heard == b"%d" % client.fileno()
    return ip, port


@ALLOWED
def test_a_connection_from_outside_the_allowlist_does_not_reach_the_container(
    relay: RunningRelay, host_ip: str, allow_from: str, source: str, other: str
) -> None:
    with serving(relay, host_ip=host_ip, allow_from=[allow_from]) as service:
        for _ in range(5):
            assert fate(lambda: service.connect(source=other)) == "reset"
        service.connect(source=source).sendall(b"it's me")
        assert service.accept().recv(100) == b"it's me"
        counters = service.counters()
        assert (counters.refused, counters.opened, counters.failed) == (5, 1, 0)


@ALLOWED
def test_a_datagram_from_outside_the_allowlist_is_dropped(
    relay: RunningRelay, host_ip: str, allow_from: str, source: str, other: str
) -> None:
    with serving(relay, Protocol.UDP, host_ip, allow_from=[allow_from]) as service:
        refused, allowed = service.connect(source=other), service.connect(source=source)
        for _ in range(5):
            refused.send(b"let me in")
            allowed.send(b"it's me")
            assert service.server.recv(100) == b"it's me"
        eventually(lambda: service.counters().refused == 5, "five refusals counted")
        assert service.counters().opened == 1


def test_one_of_several_allowed_networks_is_enough(relay: RunningRelay) -> None:
    networks = ["198.51.100.0/24", f"{CLIENT_IPV4}/32", f"{SECOND_CLIENT_IPV4}/32"]
    with serving(relay, allow_from=networks) as service:
        for source in (CLIENT_IPV4, SECOND_CLIENT_IPV4):
            service.connect(source=source).sendall(source.encode())
            assert service.accept().recv(100) == source.encode()

"""Datagrams that are relayed: whole, one by one, and answered from where they were sent to."""

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostports.model.port import Protocol
from hostports.model.relay import RelayCounters
from tests.netns.namespaces import Namespace
from tests.relay.lab import (
    CONTAINER_IPV4,
    HOST_IPV4,
    HOST_IPV6,
    HOST_LINK_LOCAL,
    SECOND_HOST_IPV4,
    SECOND_HOST_IPV6,
    Lab,
    lab,
)
from tests.relay.peers import BLOCK, bound, connected, resolved
from tests.relay.proc import open_files
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import FAMILIES, Service, echoing, serving
from tests.relay.waiting import eventually

#: linux/udp.h
UDP_SEGMENT = 103
LARGEST = 65507


@pytest.fixture
def dns(relay: RunningRelay) -> Iterator[Service]:
    """A UDP port, published on the host's IPv4 addresses, before a container that says nothing."""
    with serving(relay, Protocol.UDP) as service:
        yield service


def asked(service: Service, question: bytes) -> tuple[socket.socket, tuple[str, int]]:
    """A client whose question has arrived, and the address that the container sees it from."""
    client = service.connect()
    client.send(question)
    heard, seen = service.server.recvfrom(LARGEST)
    assert heard == question
    return client, seen


@FAMILIES
def test_a_question_is_answered_in_every_family(
    relay: RunningRelay, host_ip: str, container_ip: str, bridge_ip: str
) -> None:
    with serving(relay, Protocol.UDP, host_ip, container_ip) as service:
        client, seen = asked(service, b"question")
        assert seen[0] == bridge_ip
        service.server.sendto(b"answer", seen)
        assert client.recv(100) == b"answer"


def ask(client: socket.socket, where: Namespace, ip: str) -> tuple[bytes, str]:
    """What an address answers to a client, and the address that the answer comes from."""
    with where.entered():
        _, address = resolved(ip, 8080)
        client.sendto(b"question to " + ip.encode(), address)
        answer, source = client.recvfrom(100)
    assert source[1] == 8080
    return answer, source[0]


@pytest.mark.parametrize(
    ("where", "wildcard", "ip"),
    [
        ("client", "0.0.0.0", HOST_IPV4),
        ("client", "0.0.0.0", SECOND_HOST_IPV4),
        ("client", "::", HOST_IPV6),
        ("client", "::", SECOND_HOST_IPV6),
        ("client", "::", f"{HOST_LINK_LOCAL}%eth0"),
        ("host", "0.0.0.0", "127.0.0.1"),
        ("host", "0.0.0.0", SECOND_HOST_IPV4),
        ("host", "::", "::1"),
        ("host", "::", SECOND_HOST_IPV6),
    ],
)
def test_an_answer_comes_from_the_very_address_that_was_asked(
    relay: RunningRelay, where: str, wildcard: str, ip: str
) -> None:
    """A client drops what another address answers; the host has several per family."""
    namespace = {"client": relay.lab.client, "host": relay.lab.host}[where]
    with (
        serving(relay, Protocol.UDP, wildcard) as service,
        echoing(service.server),
        bound(namespace, socket.SOCK_DGRAM, wildcard) as client,
    ):
        answer = (b"question to " + ip.encode(), ip.partition("%")[0])
        assert ask(client, namespace, ip) == answer


def test_a_client_that_turns_to_another_address_is_answered_from_there(
    dns: Service, relay: RunningRelay
) -> None:
    """Where docker-proxy goes on to answer from the first."""
    where = relay.lab.client
    with bound(where, socket.SOCK_DGRAM, "0.0.0.0") as client, echoing(dns.server) as met:
        for ip in (HOST_IPV4, SECOND_HOST_IPV4, HOST_IPV4):
            assert ask(client, where, ip)[1] == ip
        assert len(set(met)) == 1


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 32768, 65000, LARGEST])
def test_a_datagram_of_any_size_arrives_whole_both_ways(dns: Service, size: int) -> None:
    client, seen = asked(dns, BLOCK[:size])
    answer = BLOCK[-size:] if size else b""
    dns.server.sendto(answer, seen)
    assert client.recv(LARGEST) == answer


def test_datagrams_of_mixed_sizes_stay_apart(dns: Service) -> None:
    """Sent without waiting, so that the relay finds many at once."""
    sizes = [0, 700, 700, 1, 0, 0, 1400, 700, 5000, 700, 2, 1400, 1400, 0, 3]
    said = [BLOCK[number : number + size] for number, size in enumerate(sizes)]
    client, seen = asked(dns, b"first")
    for _ in range(100):
        for each in said:
            client.send(each)
        assert Counter(dns.server.recv(LARGEST) for _ in said) == Counter(said)
        for each in said:
            dns.server.sendto(each, seen)
        assert Counter(client.recv(LARGEST) for _ in said) == Counter(said)


def burst(segment: int, count: int = 40) -> tuple[bytes, list[bytes]]:
    """A message that the kernel is to cut into segments, the last being shorter; and these."""
    message = BLOCK[: segment * count - segment // 2]
    return message, [message[at : at + segment] for at in range(0, len(message), segment)]


def send_burst(sender: socket.socket, message: bytes, segment: int, *to: tuple[str, int]) -> None:
    """Send many datagrams at once; the relay's side of the kernel may join them again (UDP_GRO)."""
    how = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", segment))]
    assert sender.sendmsg([message], how, 0, *to) == len(message)


@pytest.mark.parametrize("segment", [2, 100, 1000, 1472])
def test_a_burst_arrives_as_the_datagrams_that_it_was(dns: Service, segment: int) -> None:
    client, seen = asked(dns, b"first")
    message, datagrams = burst(segment)
    for _ in range(20):
        send_burst(client, message, segment)
        assert [dns.server.recv(LARGEST) for _ in datagrams] == datagrams
        send_burst(dns.server, message, segment, seen)
        assert [client.recv(LARGEST) for _ in datagrams] == datagrams


def test_bursts_of_different_sizes_do_not_mix(dns: Service) -> None:
    """Sent without waiting, so that the relay finds many at once."""
    client, seen = asked(dns, b"first")
    bursts = {segment: burst(segment, 10) for segment in (1000, 2, 1472, 100, 1001)}
    expected = Counter(each for _, datagrams in bursts.values() for each in datagrams)
    for _ in range(50):
        for segment, (message, _) in bursts.items():
            send_burst(client, message, segment)
        assert Counter(dns.server.recv(LARGEST) for _ in expected.elements()) == expected
        for segment, (message, _) in bursts.items():
            send_burst(dns.server, message, segment, seen)
        assert Counter(client.recv(LARGEST) for _ in expected.elements()) == expected


def test_bursts_of_several_clients_do_not_mix(dns: Service) -> None:
    clients = {seen: client for client, seen in (asked(dns, b"%d" % each) for each in range(5))}
    message, datagrams = burst(500, 20)
    for _ in range(20):
        for client in clients.values():
            send_burst(client, message, 500)
        heard = Counter(dns.server.recvfrom(LARGEST) for _ in clients for _ in datagrams)
        assert heard == Counter((each, seen) for seen in clients for each in datagrams)
    for seen, client in clients.items():
        dns.server.sendto(b"you", seen)
        assert client.recv(100) == b"you"


def test_a_burst_gets_through_a_link_of_smaller_packets(control_path: Path) -> None:
    """Too long for the way out as they came, the datagrams go in fragments."""
    with lab() as own, running_relay(own, control_path) as relay:
        own.set_link(own.host, "br0", mtu=1280)
        own.set_link(own.container, "eth0", mtu=1280)
        with serving(relay, Protocol.UDP) as service:
            client, _ = asked(service, b"first")
            message, datagrams = burst(1400)
            send_burst(client, message, 1400)
            heard = Counter(service.server.recv(LARGEST) for _ in datagrams)
            assert heard == Counter(datagrams)


def test_two_thousand_clients_at_once_each_get_their_own_answer(
    lab: Lab, control_path: Path
) -> None:
    with (
        open_files(4400),
        running_relay(lab, control_path) as relay,
        serving(relay, Protocol.UDP) as service,
        echoing(service.server) as met,
    ):
        clients = [service.connect() for _ in range(2000)]
        for turn in range(2):
            for some in (clients[at : at + 100] for at in range(0, 2000, 100)):
                questions = [b"%d %d" % (turn, each.getsockname()[1]) for each in some]
                for client, question in zip(some, questions, strict=True):
                    client.send(question)
                assert [each.recv(100) for each in some] == questions
        assert len(met) == 4000
        assert len(set(met)) == 2000
        assert service.counters().open == 2000


def test_a_flow_that_nobody_answers_goes_on(dns: Service) -> None:
    client, first = asked(dns, b"0")
    for number in range(1, 2000):
        client.send(b"%d" % number)
        assert dns.server.recvfrom(100) == (b"%d" % number, first)
    assert dns.counters().opened == 1


def test_a_container_may_go_on_talking(dns: Service) -> None:
    client, seen = asked(dns, b"subscribe")
    for number in range(2000):
        dns.server.sendto(b"%d" % number, seen)
        assert client.recv(100) == b"%d" % number


def test_nobody_else_can_answer_for_the_container(dns: Service, relay: RunningRelay) -> None:
    client, seen = asked(dns, b"question")
    with bound(relay.lab.container, socket.SOCK_DGRAM, CONTAINER_IPV4) as stranger:
        stranger.sendto(b"forged", seen)
    dns.server.sendto(b"true", seen)
    assert client.recv(100) == b"true"


def test_a_client_that_is_gone_does_not_disturb_the_others(dns: Service) -> None:
    """Its host says that nobody is there any more."""
    gone, seen = asked(dns, b"question")
    client, other = asked(dns, b"another")
    gone.close()
    for _ in range(10):
        dns.server.sendto(b"answer to nobody", seen)
        dns.server.sendto(b"answer", other)
        assert client.recv(100) == b"answer"


def test_a_container_without_a_route_costs_only_its_own_clients(
    dns: Service, relay: RunningRelay
) -> None:
    lost = relay.publish(Protocol.UDP, "0.0.0.0", 8081, "203.0.113.1", 8081)
    with connected(relay.lab.client, HOST_IPV4, 8081, kind=socket.SOCK_DGRAM) as client:
        client.send(b"nobody hears this")
        asked(dns, b"question")
    eventually(lambda: relay.counters(lost).failed == 1, "a failure counted")


@pytest.mark.parametrize("before", ["never-there", "there-before"])
def test_a_container_that_refuses_for_a_while_is_reached_again(dns: Service, before: str) -> None:
    """A refusal is told to whoever writes next, and must cost no more than what it is about."""
    client = asked(dns, b"early")[0] if before == "there-before" else dns.connect()
    lab = dns.relay.lab
    dns.server.close()
    for _ in range(10):
        client.send(b"nobody hears this")
    with bound(lab.container, socket.SOCK_DGRAM, CONTAINER_IPV4, 8080) as server:
        client.send(b"back again")
        heard, seen = server.recvfrom(100)
        while heard != b"back again":
            heard, seen = server.recvfrom(100)
        server.sendto(b"welcome", seen)
        assert client.recv(100) == b"welcome"


def test_sessions_and_bytes_are_counted(dns: Service) -> None:
    for number in range(3):
        client, seen = asked(dns, b"four")
        dns.server.sendto(b"seven by", seen)
        assert client.recv(100) == b"seven by"
        expected = RelayCounters(
            open=number + 1,
            opened=number + 1,
            bytes_to_container=4 * (number + 1),
            bytes_to_client=8 * (number + 1),
        )
        eventually(lambda expected=expected: dns.counters() == expected, str(expected))  # type: ignore[misc]

"""UDP sessions end after ninety seconds of silence, which pass here at once."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelaySettings
from hostports.relay.log import Log
from hostports.relay.udp import DatagramListener, Datagrams
from tests.relay.inprocess import CONTAINER, HOST, HandTurned, one_host, own_descriptors
from tests.relay.services import answered
from tests.relay.waiting import PATIENCE_S

PORT = 5000
BINDING = PortBinding(
    "lab", "dns", Protocol.UDP, ip_address(HOST), PORT, ip_address(CONTAINER), PORT
)
#: docker-proxy's; and seconds at most until the relay looks who has been silent for so long.
SILENCE_S, LOOK_S = 90, 5


class Published:
    """A UDP port, its container's socket, and clients that are closed in the end."""

    def __init__(self, poller: HandTurned, stack: ExitStack) -> None:
        self._stack = stack
        self.poller = poller
        self.server = self._bound(CONTAINER, PORT)
        shared = Datagrams(poller, Log(poller), RelaySettings())
        self.listener = DatagramListener(shared, BINDING, reserved())
        stack.callback(self.listener.close)

    def client(self) -> socket.socket:
        """Somebody who can reach the port."""
        made = self._bound(HOST, 0)
        made.connect((HOST, PORT))
        return made

    def ask(self, client: socket.socket) -> tuple[str, int]:
        """Let a client's question arrive; whom the container sees."""
        client.send(b"question")
        self.poller.until(lambda: answered([self.server]), "a question")
        heard, (ip, port) = self.server.recvfrom(100)
        assert heard == b"question"
        return ip, port

    def answer(self, client: socket.socket, seen: tuple[str, int]) -> None:
        """Let an answer of the container arrive."""
        self.server.sendto(b"answer", seen)
        assert self.poller.receive(client) == b"answer"

    @property
    def open(self) -> int:
        return self.listener.counters().open

    def _bound(self, ip: str, port: int) -> socket.socket:
        made = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.settimeout(PATIENCE_S)
        made.bind((ip, port))
        return made


def reserved() -> socket.socket:
    """The port's socket, as the daemon makes it."""
    sockets = LinuxHostSockets()
    sockets.reserve(BINDING.socket)
    sockets.listen(BINDING.socket, relayed=True)
    copy = socket.socket(fileno=os.dup(sockets.fileno(BINDING.socket)))
    sockets.release(BINDING.socket)
    return copy


@pytest.fixture
def published() -> Iterator[Published]:
    with one_host() as poller, ExitStack() as stack:
        yield Published(poller, stack)


def test_a_session_ends_after_ninety_seconds_of_silence_both_ways(published: Published) -> None:
    client = published.client()
    before = own_descriptors()
    seen = published.ask(client)
    published.answer(client, seen)
    assert own_descriptors() != before
    published.poller.pass_time(SILENCE_S - 1)
    assert published.open == 1
    published.poller.pass_time(1 + LOOK_S)
    assert published.open == 0
    assert own_descriptors() == before


def test_who_comes_back_after_that_gets_a_new_session(published: Published) -> None:
    client = published.client()
    first = published.ask(client)
    published.poller.pass_time(SILENCE_S + LOOK_S)
    second = published.ask(client)
    assert first != second
    published.answer(client, second)
    assert (published.open, published.listener.counters().opened) == (1, 2)
    published.poller.pass_time(SILENCE_S + LOOK_S)
    assert published.open == 0


def test_a_flow_that_nobody_answers_lives_while_it_sends(published: Published) -> None:
    client = published.client()
    seen = published.ask(client)
    for _ in range(10):
        published.poller.pass_time(SILENCE_S - 1)
        assert published.ask(client) == seen
    assert published.listener.counters().opened == 1


def test_a_container_that_goes_on_talking_keeps_its_listener(published: Published) -> None:
    client = published.client()
    seen = published.ask(client)
    for _ in range(10):
        published.poller.pass_time(SILENCE_S - 1)
        published.answer(client, seen)
    assert (published.open, published.listener.counters().opened) == (1, 1)


def test_of_several_sessions_only_the_silent_ones_end(published: Published) -> None:
    silent, lively = published.client(), published.client()
    published.ask(silent)
    seen = published.ask(lively)
    published.poller.pass_time(SILENCE_S - 1)
    published.ask(lively)
    published.poller.pass_time(1 + LOOK_S)
    assert published.open == 1
    published.answer(lively, seen)


def test_what_a_session_that_has_ended_is_told_reaches_nobody(published: Published) -> None:
    client = published.client()
    seen = published.ask(client)
    published.poller.pass_time(SILENCE_S + LOOK_S)
    published.server.sendto(b"too late", seen)
    published.poller.rest()
    assert not answered([client])


def test_a_port_that_drains_is_given_up_after_its_last_session(published: Published) -> None:
    client = published.client()
    seen = published.ask(client)
    ended: list[str] = []
    published.listener.drain(lambda: ended.append("the last session"))
    published.poller.pass_time(SILENCE_S - 1)
    published.answer(client, seen)
    published.poller.pass_time(SILENCE_S - 1)
    assert not ended
    published.poller.pass_time(1 + LOOK_S)
    assert ended == ["the last session"]
    reserved().close()

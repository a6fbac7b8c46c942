"""What accept(2) may fail with: one client that is gone, or nothing left to accept it with."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelaySettings
from hostports.relay.calls import LinuxCalls
from hostports.relay.listener import StreamListener
from hostports.relay.log import Log
from hostports.relay.streams import Streams
from tests.relay.inprocess import CONTAINER, HOST, HandTurned, one_host
from tests.relay.waiting import PATIENCE_S

PORT = 5000
BINDING = PortBinding(
    "lab", "web", Protocol.TCP, ip_address(HOST), PORT, ip_address(CONTAINER), PORT
)
#: Errors of accept(2) that are about one client, or the network that it came from.
GONE = ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "EHOSTUNREACH", "EINTR"]
EXHAUSTED = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]
#: More seconds than a relay waits before it asks for descriptors again.
SOON_S = 1.0


class FailingAccept(LinuxCalls):
    """Accepts nobody at first, by the names of errors; counts how often it was asked."""

    def __init__(self, *names: str) -> None:
        self.errors = [getattr(errno, name) for name in names]
        self.asked = 0

    def accept(self, listener: int) -> int:
        self.asked += 1
        return -self.errors.pop(0) if self.errors else super().accept(listener)


@contextmanager
def listener(poller: HandTurned, calls: FailingAccept) -> Iterator[StreamListener]:
    """A published port whose container listens."""
    streams = Streams(poller, calls, Log(poller), RelaySettings())
    with ExitStack() as stack:
        stack.enter_context(socket.create_server((CONTAINER, PORT)))
        made = StreamListener(streams, BINDING, socket.create_server((HOST, PORT)))
        stack.callback(streams.make_room)
        stack.callback(made.close)
        yield made


@pytest.fixture
def poller() -> Iterator[HandTurned]:
    with one_host() as made:
        yield made


def client() -> socket.socket:
    return socket.create_connection((HOST, PORT), PATIENCE_S)


@pytest.mark.parametrize("name", GONE)
def test_a_client_that_is_gone_already_keeps_nobody_else_waiting(
    poller: HandTurned, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = FailingAccept(*[name] * 3)
    with listener(poller, calls) as served, client():
        poller.turn(PATIENCE_S)
        assert served.counters().opened == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", EXHAUSTED)
def test_without_descriptors_or_memory_clients_wait_and_are_served_later(
    poller: HandTurned, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody tells when there is room again, so it has to be tried, but not all the time."""
    calls = FailingAccept(name, name)
    with listener(poller, calls) as served, client():
        for attempts in (1, 2):
            poller.until(lambda: calls.asked, "an attempt")
            poller.rest()
            assert calls.asked == attempts
            assert served.counters().opened == 0
            poller.pass_time(SOON_S)
        poller.rest()
        assert served.counters().opened == 1
    reason = os.strerror(getattr(errno, name))
    line = f"<4>{BINDING}: clients can't be accepted: {reason}; they wait\n"
    assert capfd.readouterr().err == line


def test_an_error_that_nobody_knows_is_taken_for_a_passing_one(poller: HandTurned) -> None:
    calls = FailingAccept("EINVAL")
    with listener(poller, calls) as served, client():
        poller.until(lambda: calls.asked, "an attempt")
        poller.rest()
        assert calls.asked == 1
        poller.pass_time(SOON_S)
        poller.rest()
        assert served.counters().opened == 1


def test_a_listener_that_waits_for_descriptors_can_be_given_up(poller: HandTurned) -> None:
    calls = FailingAccept("EMFILE")
    with listener(poller, calls) as served, client() as waiting:
        poller.until(lambda: calls.asked, "an attempt")
        served.close()
        with pytest.raises(ConnectionResetError):
            poller.receive(waiting)
        poller.pass_time(SOON_S)
        assert calls.asked == 1

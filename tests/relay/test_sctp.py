"""SCTP connections, by the relay's own code on TCP sockets: most kernels here have no SCTP."""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest

from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelayCounters, RelaySettings
from hostports.relay.calls import LinuxCalls, Option
from hostports.relay.listener import StreamListener
from hostports.relay.log import Log
from hostports.relay.streams import Streams
from tests.relay.inprocess import CONTAINER, HOST, HandTurned, one_host
from tests.relay.peers import BLOCK, reset
from tests.relay.waiting import PATIENCE_S

#: linux/sctp.h; struct sctp_initmsg: streams out and in, attempts, milliseconds.
SCTP_INITMSG = 2
MOST_STREAMS = struct.pack("HHHH", 65535, 65535, 0, 0)
PORT = 5000
BINDING = PortBinding(
    "lab", "web", Protocol.SCTP, ip_address(HOST), PORT, ip_address(CONTAINER), PORT
)
SIDES = pytest.mark.parametrize("who", ["client", "container"])


class TcpForSctp(LinuxCalls):
    """Makes TCP sockets instead, and writes down how it was asked to dial."""

    def __init__(self) -> None:
        self.dialled: list[tuple[int, int]] = []
        self.options: list[Option] = []
        self.half_closed = 0

    def dial(self, family: int, protocol: int) -> int:
        self.dialled.append((family, protocol))
        return super().dial(family, 0)

    def set_options(self, descriptor: int, options: Sequence[Option]) -> None:
        self.options += options
        super().set_options(descriptor, options)

    def end_output(self, descriptor: int) -> None:
        self.half_closed += 1
        super().end_output(descriptor)


class Published:
    """An SCTP port, as far as its relay knows."""

    def __init__(self, poller: HandTurned, stack: ExitStack) -> None:
        self._stack = stack
        self.poller = poller
        self.calls = TcpForSctp()
        self.streams = Streams(poller, self.calls, Log(poller), RelaySettings())
        host = socket.create_server((HOST, PORT))
        self.listener = StreamListener(self.streams, BINDING, host)
        self.server = stack.enter_context(socket.create_server((CONTAINER, PORT)))
        self.server.settimeout(PATIENCE_S)

    def connect(self) -> socket.socket:
        """A client whom the relay has accepted."""
        before = self.listener.counters().opened
        client = socket.create_connection((HOST, PORT), PATIENCE_S)
        self._stack.enter_context(client)
        self.poller.until(lambda: self.listener.counters().opened > before, "a client accepted")
        return client

    def join(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection: the client's and the container's."""
        client = self.connect()
        server, _ = self.server.accept()
        server.settimeout(PATIENCE_S)
        return client, self._stack.enter_context(server)

    def close(self) -> None:
        """Give up the port, and what a relay keeps for later."""
        self.listener.close()
        self.streams.make_room()


@pytest.fixture
def published() -> Iterator[Published]:
    """Afterwards no descriptor is left open."""
    with one_host() as poller, ExitStack() as stack:
        made = Published(poller, stack)
        stack.callback(made.close)
        yield made


def test_a_container_is_dialled_by_sctp_with_as_many_streams_as_there_can_be(
    published: Published,
) -> None:
    published.join()
    assert published.calls.dialled == [(socket.AF_INET, socket.IPPROTO_SCTP)]
    assert published.calls.options == [Option(socket.IPPROTO_SCTP, SCTP_INITMSG, MOST_STREAMS)]


def test_bytes_go_both_ways(published: Published) -> None:
    poller = published.poller
    client, server = published.join()
    for one, other in [(client, server), (server, client)] * 3:
        one.sendall(b"question")
        assert poller.receive(other) == b"question"


def test_a_bulk_of_data_arrives_whole(published: Published) -> None:
    """More than any buffer on the way, so that it has to wait there, and takes the pipes."""
    client, server = published.join()
    client.settimeout(0)
    rest, received = memoryview(BLOCK), bytearray()
    while len(received) < len(BLOCK):
        with suppress(BlockingIOError):
            rest = rest[client.send(rest) :]
        received += published.poller.receive(server)
    assert received == BLOCK


def ends(published: Published, who: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of a new connection; first the one that shall end it."""
    client, server = published.join()
    return (client, server) if who == "client" else (server, client)


@SIDES
def test_the_end_of_one_way_is_the_end_of_both(published: Published, who: str) -> None:
    """SCTP has no half-close; what was said before still arrives."""
    one, other = ends(published, who)
    one.sendall(b"good")
    one.sendall(b"bye")
    one.shutdown(socket.SHUT_WR)
    heard = b""
    while part := published.poller.receive(other):
        heard += part
    assert heard == b"goodbye"
    assert published.poller.receive(one) == b""
    assert published.listener.counters().open == 0
    assert published.calls.half_closed == 0


@SIDES
def test_a_reset_of_one_is_a_reset_for_the_other(published: Published, who: str) -> None:
    one, other = ends(published, who)
    reset(one)
    with pytest.raises(ConnectionResetError):
        published.poller.receive(other)
    assert published.listener.counters().open == 0


def test_a_container_that_refuses_resets_the_client(
    published: Published, capfd: pytest.CaptureFixture[str]
) -> None:
    published.server.close()
    client = published.connect()
    with pytest.raises(ConnectionResetError):
        published.poller.receive(client)
    assert published.listener.counters() == RelayCounters(opened=1, failed=1)
    reason = os.strerror(errno.ECONNREFUSED)
    assert f"{BINDING}: the container can't be reached: {reason}\n" in capfd.readouterr().err


def test_connections_and_bytes_are_counted(published: Published) -> None:
    client, server = published.join()
    client.sendall(b"four")
    assert published.poller.receive(server) == b"four"
    server.sendall(b"seven by")
    assert published.poller.receive(client) == b"seven by"
    counted = RelayCounters(open=1, opened=1, bytes_to_container=4, bytes_to_client=8)
    assert published.listener.counters() == counted
    client.close()
    assert published.poller.receive(server) == b""
    assert published.listener.counters() == replace(counted, open=0)


def test_a_port_that_is_given_up_resets_its_connections(published: Published) -> None:
    client, server = published.join()
    published.listener.close()
    for each in (client, server):
        with pytest.raises(ConnectionResetError):
            published.poller.receive(each)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, PORT), PATIENCE_S)

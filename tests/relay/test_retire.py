"""One relay takes over from another: no port is shut, and no connection breaks."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

import pytest

from hostports.interfaces import RelayedBinding
from hostports.model.port import PortBinding, Protocol
from hostports.relay.client import RelayClient
from hostports.relay.launch import start_relay
from hostports.relay.wire import Frame, Kind
from tests.relay.bare import Stranger
from tests.relay.lab import CONTAINER_IPV4, HOST_IPV4, SECOND_HOST_IPV4, Lab
from tests.relay.peers import bound, ending, exchange, read_all
from tests.relay.relays import RunningRelay
from tests.relay.services import Service, serving
from tests.relay.waiting import PATIENCE_S, eventually

#: Seconds that no test waits for.
LONG_S = 3600
KINDS = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}


class Change:
    """A relay, and whoever comes after it at the same path."""

    def __init__(self, lab: Lab, path: Path, stack: ExitStack) -> None:
        self._lab = lab
        self._path = path
        self._stack = stack
        self.control = stack.enter_context(RelayClient(path))
        self.old = self._start()
        self.relay = RunningRelay(lab, self.control, self.old.pid)
        self.given: list[socket.socket] = []

    def retire(self, seconds: float = LONG_S) -> None:
        """Take the old relay's sockets."""
        self.given = [*map(self._stack.enter_context, self.control.retire(seconds))]

    def succeed(self, *bindings: PortBinding) -> "Popen[bytes]":
        """Start a new relay, which serves bindings on these sockets."""
        new = self._start()
        assert self.control.hello().pid == new.pid
        self.control.add(matched(bindings, self.given))
        for each in self.given:
            each.close()
        return new

    def _start(self) -> "Popen[bytes]":
        with self._lab.host.entered():
            started = start_relay(self._path)
        self._stack.callback(started.wait)
        self._stack.callback(started.kill)
        return started


def matched(
    bindings: Sequence[PortBinding], given: Sequence[socket.socket]
) -> list[RelayedBinding]:
    """Bindings and the sockets that are bound to their addresses."""
    found = {(each.type, *each.getsockname()[:2]): each.fileno() for each in given}
    return [
        RelayedBinding(each, found[KINDS[each.protocol], str(each.host_ip), each.host_port])
        for each in bindings
    ]


@pytest.fixture
def change(lab: Lab, control_path: Path) -> Iterator[Change]:
    with ExitStack() as stack:
        yield Change(lab, control_path, stack)


def test_connections_go_on_through_the_old_relay_until_they_end(change: Change) -> None:
    with serving(change.relay) as web:
        client, server = web.join()
        change.retire()
        change.succeed(web.binding)
        for _ in range(3):
            assert exchange(client, server)
        assert change.old.poll() is None
        client.close()
        assert read_all(server) == b""
        assert exchange(*web.join())
        server.close()
        assert change.old.wait(PATIENCE_S) == 0


def test_clients_that_come_during_the_change_are_served_by_the_new_relay(change: Change) -> None:
    with serving(change.relay) as web:
        early = web.connect()
        server = web.accept()
        change.retire()
        late = [web.connect() for _ in range(20)]
        for client in late:
            client.sendall(b"question")
        change.succeed(web.binding)
        for _ in late:
            accepted = web.accept()
            assert accepted.recv(100) == b"question"
            accepted.close()
        assert [read_all(client) for client in late] == [b""] * len(late)
        assert web.counters().opened == len(late)
        assert exchange(early, server)


def test_a_port_that_the_new_relay_gives_up_is_shut_while_the_old_one_goes_on(
    change: Change,
) -> None:
    """The old relay keeps no copy of the socket."""
    with serving(change.relay) as web:
        client, server = web.join()
        change.retire()
        change.succeed(web.binding)
        change.control.remove([web.binding])
        eventually(lambda: shut(web), "the port is shut")
        assert exchange(client, server)


def test_a_relay_without_clients_ends_at_once(change: Change) -> None:
    with serving(change.relay) as web, serving(change.relay, Protocol.UDP) as dns:
        change.retire()
        assert change.old.wait(PATIENCE_S) == 0
        assert len(change.given) == 2
        change.succeed(web.binding, dns.binding)
        assert exchange(*web.join())


def test_a_relay_that_holds_nothing_ends_at_once(change: Change) -> None:
    change.retire()
    assert change.given == []
    assert change.old.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_of_several_ports_one_with_a_connection_is_enough_to_stay(
    change: Change, busy: int
) -> None:
    """Whichever it is, among others that are idle."""
    with ExitStack() as stack:
        ports = [
            stack.enter_context(serving(change.relay, port=port)) for port in range(8080, 8083)
        ]
        client, server = ports[busy].join()
        change.retire()
        change.succeed(*[each.binding for each in ports])
        assert exchange(*ports[0].join())
        assert exchange(client, server)
        client.close()
        assert read_all(server) == b""
        server.close()
        assert change.old.wait(PATIENCE_S) == 0


def test_connections_that_outlast_their_time_are_reset(change: Change) -> None:
    with serving(change.relay) as web:
        client, server = web.join()
        change.retire(seconds=0.5)
        assert (ending(client), ending(server)) == ("reset", "reset")
        assert change.old.wait(PATIENCE_S) == 0


def test_what_drains_already_may_drain_on(change: Change) -> None:
    with serving(change.relay) as web:
        client, server = web.join()
        change.control.drain([web.binding], LONG_S)
        change.retire()
        assert change.given == []
        assert exchange(client, server)
        client.close()
        server.close()
        assert change.old.wait(PATIENCE_S) == 0


def test_an_answer_to_a_client_of_the_old_relay_still_gets_out(change: Change) -> None:
    """From the address that the client wrote to, as before."""
    with (
        serving(change.relay, Protocol.UDP) as dns,
        bound(change.relay.lab.client, socket.SOCK_DGRAM, "0.0.0.0") as client,
    ):
        client.sendto(b"question", (SECOND_HOST_IPV4, 8080))
        assert dns.server.recv(100) == b"question"
        client.sendto(b"question", (SECOND_HOST_IPV4, 8080))
        _, before = dns.server.recvfrom(100)
        change.retire()
        change.succeed(dns.binding)
        dns.server.sendto(b"answer", before)
        assert client.recvfrom(100) == (b"answer", (SECOND_HOST_IPV4, 8080))
        client.sendto(b"another", (SECOND_HOST_IPV4, 8080))
        heard, after = dns.server.recvfrom(100)
        assert heard == b"another"
        assert after != before
        dns.server.sendto(b"answer", after)
        assert client.recvfrom(100) == (b"answer", (SECOND_HOST_IPV4, 8080))
        assert change.control.held()[0].counters.opened == 1


def test_datagrams_that_come_during_the_change_reach_the_new_relay(change: Change) -> None:
    with serving(change.relay, Protocol.UDP) as dns:
        known, new = dns.connect(), dns.connect()
        known.send(b"early")
        assert dns.server.recv(100) == b"early"
        change.retire()
        for client in (known, new):
            client.send(b"late")
        change.succeed(dns.binding)
        for _ in (known, new):
            heard, seen = dns.server.recvfrom(100)
            assert heard == b"late"
            dns.server.sendto(b"answer", seen)
        assert (known.recv(100), new.recv(100)) == (b"answer", b"answer")
        assert change.control.held()[0].counters.opened == 2


def test_sessions_that_outlast_their_time_are_over(change: Change) -> None:
    with serving(change.relay, Protocol.UDP) as dns:
        client = dns.connect()
        client.send(b"question")
        assert dns.server.recv(100) == b"question"
        change.retire(seconds=0.5)
        assert change.old.wait(PATIENCE_S) == 0


def test_sockets_by_the_hundred_are_all_handed_over(change: Change) -> None:
    """More than the kernel passes with one message."""
    count = 600
    bindings = [
        change.relay.publish(Protocol.UDP, HOST_IPV4, port, CONTAINER_IPV4, 80)
        for port in range(2000, 2000 + count)
    ]
    change.retire()
    assert len(change.given) == count
    change.succeed(*bindings)
    assert [each.binding for each in change.control.held()] == bindings
    assert change.old.wait(PATIENCE_S) == 0


def test_a_relay_of_another_version_gives_its_sockets_away_too(
    change: Change, control_path: Path
) -> None:
    with serving(change.relay) as web, Stranger(control_path) as daemon:
        answer = daemon.ask(Frame(Kind.RETIRE, {"seconds": 0}, version=99))
        assert answer is not None
        assert answer.body == {"result": None}
        (given,) = answer.descriptors
        with socket.socket(fileno=given) as listening:
            assert listening.getsockname() == ("0.0.0.0", web.binding.host_port)
        assert change.old.wait(PATIENCE_S) == 0


def test_a_relay_without_descriptors_gives_its_sockets_away_too(change: Change) -> None:
    """Only answers to its clients are lost."""
    with ExitStack() as stack:
        ports = [
            stack.enter_context(serving(change.relay, Protocol.UDP, port=port))
            for port in range(8080, 8085)
        ]
        for each in ports:
            each.connect().send(b"question")
            assert each.server.recv(100) == b"question"
        with change.relay.process.limited_descriptors(0):
            change.retire(seconds=0.5)
        assert change.old.wait(PATIENCE_S) == 0
        change.succeed(*[each.binding for each in ports])
        for each in ports:
            each.connect().send(b"another")
            assert each.server.recv(100) == b"another"


def test_a_daemon_that_vanishes_amid_the_change_shuts_the_ports_and_breaks_nothing_else(
    change: Change, control_path: Path
) -> None:
    """Another can start anew; the old relay's connections go on."""
    with serving(change.relay) as web:
        client, server = web.join()
        with Stranger(control_path) as daemon:
            daemon.tell(Frame(Kind.RETIRE, {"seconds": LONG_S}))
        change.control.close()
        eventually(lambda: shut(web), "the port is shut")
        assert exchange(client, server)
        change.succeed()
        assert change.control.held() == []


def shut(service: Service) -> bool:
    """Whether nobody listens on a port."""
    try:
        service.new_client().close()
    except ConnectionRefusedError:
        return True
    return False

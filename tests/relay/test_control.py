"""Daemons come and go; the relay stays, and so does all that it holds."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from hostports.interfaces import RelayedBinding
from hostports.model.port import Protocol
from hostports.model.relay import RelayCounters
from hostports.relay.client import RelayClient
from hostports.relay.wire import Frame, Kind, packed_bindings
from tests.relay.bare import Stranger
from tests.relay.bulk import many
from tests.relay.peers import ending, exchange
from tests.relay.relays import RunningRelay
from tests.relay.services import Service, answered, echoing, serving
from tests.relay.waiting import eventually, settled

#: More clients than the relay may have in a test.
CROWD = 20


def test_a_new_daemon_finds_what_is_held_and_no_connection_breaks(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    with serving(relay, Protocol.UDP) as dns:
        client, server = web.join()
        assert exchange(client, server)
        dns.connect().send(b"question")
        assert dns.server.recv(100) == b"question"
        relay.control.close()
        with RelayClient(control_path) as successor:
            assert {each.binding: each.counters for each in successor.held()} == {
                web.binding: RelayCounters(1, 1, bytes_to_container=8, bytes_to_client=6),
                dns.binding: RelayCounters(1, 1, bytes_to_container=8),
            }
            assert exchange(client, server)
            assert exchange(*web.join())
            successor.remove([web.binding])
            assert ending(client) == "reset"


def test_a_relay_tells_who_it_is(relay: RunningRelay) -> None:
    greeting = relay.control.hello()
    assert greeting.understood
    assert greeting.pid == relay.process.pid


def test_only_its_owner_may_connect_to_a_relay(relay: RunningRelay, control_path: Path) -> None:
    assert relay.control.held() == []
    assert control_path.stat().st_mode & 0o777 == 0o600


def question_of(bindings: Sequence[RelayedBinding]) -> Frame:
    """What asks a relay to serve bindings."""
    packed = packed_bindings([each.binding for each in bindings])
    return Frame(Kind.ADD, {"bindings": packed}, [each.fileno for each in bindings])


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_daemon_that_vanishes_amid_a_call_leaves_nothing_behind(
    relay: RunningRelay, web: Service, control_path: Path, pieces: int
) -> None:
    """The call is of four pieces: all but descriptors, and those, in three messages."""
    client, server = web.join()
    assert exchange(client, server)
    before = relay.process.descriptors()
    with many(relay, 600) as bindings, Stranger(control_path) as daemon:
        for data, descriptors in [*question_of(bindings).pieces()][:pieces]:
            daemon.say(data, descriptors)
        come = min(253 * (pieces - 1), 600)
        count = before.total() + 1 + come
        eventually(lambda: relay.process.descriptors().total() == count, "all of it has come")
        daemon.close()
        eventually(lambda: relay.process.descriptors() == before, "all of it closed")
        assert [each.binding for each in relay.control.held()] == [web.binding]
    assert exchange(client, server)
    assert exchange(*web.join())


def test_a_daemon_that_vanishes_amid_a_header_leaves_nothing_behind(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    before = relay.process.descriptors()
    with Stranger(control_path) as daemon:
        daemon.say(b"\0", [web.server.fileno()] * 3)
        eventually(lambda: relay.process.descriptors().total() == before.total() + 4, "three came")
    eventually(lambda: relay.process.descriptors() == before, "all of it closed")
    assert exchange(*web.join())


def test_a_daemon_that_vanishes_before_the_answer_is_obeyed(
    relay: RunningRelay, control_path: Path
) -> None:
    """Its successor can't know, and asks what is held."""
    with many(relay, 600) as bindings:
        with Stranger(control_path) as daemon:
            daemon.tell(question_of(bindings))
        eventually(lambda: len(relay.control.held()) == 600, "all held")
        assert [each.binding for each in relay.control.held()] == [
            each.binding for each in bindings
        ]


class PingPong:
    """Question and answer over one connection, again and again."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.trips = 0
        self._ends = client, server
        self._enough = Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Play until the end of the block."""
        thread = Thread(target=self._play)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()

    def _play(self) -> None:
        while not self._enough.is_set():
            assert exchange(*self._ends)
            self.trips += 1


def test_while_thousands_of_bindings_are_added_traffic_goes_on(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    """Counted is from when the relay has all of the question until it has answered.

    That are a hundred turns and more; a relay that does it all in one gets but a trip or two in.
    """
    before = relay.process.descriptors().total()
    game = PingPong(*web.join())
    with many(relay, 10_000) as bindings, Stranger(control_path) as daemon, game.going_on():
        *pieces, (last, descriptors) = question_of(bindings).pieces()
        for piece in pieces:
            daemon.say(*piece)
        count = before + len(bindings) - len(descriptors)
        eventually(lambda: relay.process.descriptors().total() >= count, "nearly all has come")
        trips = game.trips
        daemon.say(last, descriptors)
        answer = daemon.answer()
        assert answer is not None
        assert answer.body == {"result": None}
        assert game.trips - trips > 5


def test_a_daemon_that_does_not_read_keeps_no_other_from_being_answered(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    """Its answer is longer than what the kernel holds for it."""
    with many(relay, 5000) as bindings, Stranger(control_path) as deaf:
        relay.control.add(bindings)
        deaf.tell(Frame(Kind.HELD))
        eventually(lambda: answered([deaf.connection]), "the beginning of an answer")
        assert len(relay.control.held()) == len(bindings) + 1
        assert exchange(*web.join())
        answer = deaf.answer()
        assert answer is not None
        assert len(answer.body["result"]) == len(bindings) + 1


@pytest.mark.usefixtures("web")
def test_questions_of_several_daemons_are_answered_each_to_whom_it_belongs(
    relay: RunningRelay, control_path: Path
) -> None:
    with Stranger(control_path) as one, Stranger(control_path) as other:
        for _ in range(20):
            one.tell(Frame(Kind.HELD))
            other.tell(Frame(Kind.HELLO))
            held, greeting = one.answer(), other.answer()
            assert held is not None
            assert len(held.body["result"]) == 1
            assert greeting is not None
            assert greeting.body["result"]["pid"] == relay.process.pid


def test_a_relay_without_descriptors_still_hears_a_new_daemon(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    """And the next one, though clients have taken whatever became free meanwhile."""
    with echoing(web.server), relay.process.limited_descriptors(11):
        clients = [web.connect() for _ in range(CROWD)]
        for client in clients:
            client.sendall(b"question")
        served = settled(lambda: len(answered(clients)))
        assert 1 <= served < CROWD
        for goes in answered(clients)[:3]:
            with RelayClient(control_path) as daemon:
                assert [each.binding for each in daemon.held()] == [web.binding]
            goes.close()
            clients.remove(goes)
            settled(lambda: len(answered(clients)))
        with RelayClient(control_path) as daemon:
            daemon.remove([web.binding])
            assert daemon.held() == []


def test_a_daemons_place_is_kept_for_the_next_one(relay: RunningRelay, control_path: Path) -> None:
    """New clients of UDP would take any descriptor."""
    with serving(relay, Protocol.UDP) as dns, relay.process.limited_descriptors(0):
        for clients in range(CROWD, 3 * CROWD, CROWD):
            with RelayClient(control_path) as daemon:
                assert [each.binding for each in daemon.held()] == [dns.binding]
            for _ in range(CROWD):
                dns.connect().send(b"question")
            eventually(partial(has_met, dns, clients), "all served or not")


def has_met(service: Service, clients: int) -> bool:
    """Whether so many clients have been served, or could not be."""
    counters = service.counters()
    return counters.opened + counters.failed == clients


def test_a_question_with_more_sockets_than_the_relay_may_open_is_refused_with_a_mend(
    relay: RunningRelay, web: Service, control_path: Path
) -> None:
    with many(relay, 600) as bindings, Stranger(control_path) as daemon:
        assert daemon.ask(Frame(Kind.HELLO)) is not None
        before = relay.process.descriptors()
        with relay.process.limited_descriptors(100):
            answer = daemon.ask(question_of(bindings))
            assert answer is not None
            assert answer.body["errors"] == [
                [
                    "500 sockets are more than the relay may open",
                    "raise its limit of open files (LimitNOFILE= of systemd)",
                ]
            ]
            assert relay.process.descriptors() == before
        assert [each.binding for each in relay.control.held()] == [web.binding]
        relay.control.add(bindings)
        assert len(relay.control.held()) == 601

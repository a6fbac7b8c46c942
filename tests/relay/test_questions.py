"""Questions that make no sense: each is refused or hung up on, and disturbs nobody else."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostports.core.rows import COLUMNS, to_row
from hostports.model.port import PortBinding, Protocol
from hostports.relay.wire import Frame, Kind
from tests.relay.bare import Stranger
from tests.relay.peers import exchange
from tests.relay.relays import RunningRelay
from tests.relay.services import Service
from tests.relay.waiting import eventually
from tests.strategies import json_values, port_bindings

#: Version, kind, number of descriptors, bytes of the body.
HEADER = struct.Struct("!HHII")
WEB = PortBinding(
    "lab", "web", Protocol.TCP, ip_address("192.0.2.1"), 8080, ip_address("172.20.0.2"), 80
)
STRANGE_VERSION = 99


@pytest.fixture
def undisturbed(relay: RunningRelay, web: Service) -> Iterator[None]:
    """Traffic goes on, what is held stays, and no descriptor is left open."""
    client, server = web.join()
    assert exchange(client, server)
    before = relay.process.descriptors()
    held = relay.control.held()
    yield
    eventually(lambda: relay.process.descriptors() == before, "all closed")
    assert relay.control.held() == held
    assert exchange(client, server)
    assert exchange(*web.join())


@pytest.fixture
def stranger(undisturbed: None, control_path: Path) -> Iterator[Stranger]:  # noqa: ARG001 - around it
    with Stranger(control_path) as daemon:
        yield daemon


def row(**columns: object) -> list[object]:
    """A binding's row, with some of its columns changed."""
    return [columns.get(name, value) for name, value in zip(COLUMNS, to_row(WEB), strict=True)]


def errors(answer: Frame | None) -> list[str]:
    """What an answer refuses, and nothing else may be in it."""
    assert answer is not None, "it has hung up"
    assert [*answer.body] == ["errors"]
    return [message for message, _ in answer.body["errors"]]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="another-language"),
        pytest.param(b"\xff" * 1000, id="nonsense"),
        pytest.param(HEADER.pack(1, Kind.ADD, 0, (1 << 28) + 1), id="too-long-a-body"),
        pytest.param(HEADER.pack(1, Kind.HELD, 0, 1) + b"{", id="no-JSON"),
        pytest.param(HEADER.pack(1, Kind.HELD, 0, 3) + b'"\xff"', id="no-UTF-8"),
        pytest.param(HEADER.pack(1, Kind.ADD, 0, 100_000) + b"[" * 100_000, id="too-deep"),
        pytest.param((HEADER.pack(1, Kind.HELD, 0, 4) + b"null") * 2, id="two-questions-at-once"),
    ],
)
def test_what_is_no_question_is_hung_up_on(stranger: Stranger, data: bytes) -> None:
    stranger.say(data)
    assert stranger.answer() is None


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (99, None, "kind 99"),
        (Kind.ADD, None, "no bindings"),
        (Kind.ADD, [], "no bindings"),
        (Kind.ADD, {}, "no bindings"),
        (Kind.ADD, {"bindings": {}}, "no bindings"),
        (Kind.ADD, {"bindings": [row()]}, "1 bindings, 0 descriptors"),
        (Kind.REMOVE, {"binding": []}, "no bindings"),
        (Kind.REMOVE, {"bindings": [None]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [{}]}, "no binding: "),
        (Kind.REMOVE, {"bindings": ["web"]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [row()[:-1]]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [row(protocol="icmp")]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [row(container_port=65536)]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [row(container_port=-1)]}, "no binding: "),
        (Kind.REMOVE, {"bindings": [row(host_port=65536)]}, "no binding: "),
        (Kind.DRAIN, {"bindings": [row()]}, "no seconds"),
        (Kind.DRAIN, {"seconds": 1}, "no bindings"),
        (Kind.DRAIN, {"bindings": [], "seconds": "1"}, "no seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": None}, "no seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": -1}, "-1 seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": -0.001}, "-0.001 seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": float("nan")}, "nan seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": float("inf")}, "inf seconds"),
        (Kind.DRAIN, {"bindings": [], "seconds": 10**400}, f"{10**400} seconds"),
        (Kind.RETIRE, {}, "no seconds"),
        (Kind.RETIRE, {"seconds": -1}, "-1 seconds"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_what_is_wrong(
    stranger: Stranger, kind: int, body: object, reason: str
) -> None:
    (error,) = errors(stranger.ask(Frame(kind, body)))
    assert error.startswith(f"the question makes no sense: {reason}")
    answer = stranger.ask(Frame(Kind.HELLO))
    assert answer is not None
    assert "result" in answer.body


@contextmanager
def descriptors(*made: Callable[[], socket.socket | int]) -> Iterator[list[int]]:
    """Descriptors of all kinds, closed in the end."""
    with ExitStack() as stack:
        numbers = []
        for each in made:
            new = each()
            numbers.append(new if isinstance(new, int) else new.detach())
            stack.callback(os.close, numbers[-1])
        yield numbers


def stream() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def datagram() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def unix_stream() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def no_socket() -> int:
    return os.open("/dev/null", os.O_RDONLY)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_two_bindings_with_another_number_of_sockets_are_refused(
    stranger: Stranger, count: int
) -> None:
    body = {"bindings": [row(), row(host_port=8081)]}
    with descriptors(stream) as (given_,):
        answer = stranger.ask(Frame(Kind.ADD, body, [given_] * count))
    (error,) = errors(answer)
    assert error == f"the question makes no sense: 2 bindings, {count} descriptors"


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.HELD, Kind.REMOVE])
def test_sockets_that_nobody_asked_for_are_closed(stranger: Stranger, kind: Kind) -> None:
    with descriptors(stream) as (given_,):
        answer = stranger.ask(Frame(kind, {"bindings": []}, [given_] * 300))
    assert answer is not None
    assert "result" in answer.body


def test_more_sockets_than_were_announced_are_hung_up_on(stranger: Stranger) -> None:
    with descriptors(stream) as (given_,):
        stranger.say(HEADER.pack(1, Kind.HELD, 1, 4) + b"null")
        stranger.say(b"\0", [given_] * 3)
    assert stranger.answer() is None


@pytest.mark.parametrize("wrong", [datagram, unix_stream, no_socket])
def test_of_a_call_with_a_descriptor_that_can_not_serve_nothing_is_served(
    stranger: Stranger, wrong: Callable[[], socket.socket | int]
) -> None:
    body = {"bindings": [row(), row(host_port=8081), row(host_port=8082)]}
    with descriptors(stream, wrong, stream) as given_:
        (error,) = errors(stranger.ask(Frame(Kind.ADD, body, given_)))
    assert error.startswith("192.0.2.1:8081:172.20.0.2:80/tcp can't be relayed: ")


@pytest.mark.parametrize("kind", [Kind.ADD, Kind.REMOVE, Kind.DRAIN, Kind.HELD, Kind.STOP, 99])
def test_a_question_of_another_version_is_refused_with_a_mend(
    stranger: Stranger, kind: int
) -> None:
    answer = stranger.ask(Frame(kind, {"bindings": [], "seconds": 1}, version=STRANGE_VERSION))
    assert answer is not None
    assert answer.body["errors"] == [
        [
            "the relay speaks version 1 of its control protocol, not 99",
            "let it retire, and start another one",
        ]
    ]


def test_who_a_relay_is_it_tells_in_any_version(relay: RunningRelay, stranger: Stranger) -> None:
    answer = stranger.ask(Frame(Kind.HELLO, version=STRANGE_VERSION))
    assert answer is not None
    assert answer.body == {"result": {"version": 1, "pid": relay.process.pid}}


@st.composite
def questions(draw: st.DrawFn) -> tuple[int, object]:
    """Kinds and bodies, from nearly right to anything at all."""
    rows: list[list[object]] = [
        [*to_row(each)] for each in draw(st.lists(port_bindings(), max_size=3))
    ]
    for each in rows:
        if draw(st.booleans()):
            each[draw(st.sampled_from(range(len(COLUMNS))))] = draw(json_values())
    body = {"bindings": rows, "seconds": draw(st.floats(0, 100) | json_values())}
    kinds = (Kind.ADD, Kind.REMOVE, Kind.DRAIN, Kind.HELD, Kind.HELLO)
    return draw(st.sampled_from(kinds)), draw(st.just(body) | json_values())


@settings(suppress_health_check=list(HealthCheck))
@given(questions(), st.integers(0, 3))
def test_any_question_at_all_is_answered(
    relay: RunningRelay, stranger: Stranger, question: tuple[int, object], count: int
) -> None:
    """One relay for all of them; what it comes to hold is taken away from it again."""
    kind, body = question
    with descriptors(*[stream] * count) as given_:
        answer = stranger.ask(Frame(kind, body, given_))
    assert answer is not None, "it has hung up"
    assert [*answer.body] in (["result"], ["errors"])
    relay.control.remove(
        [each.binding for each in relay.control.held() if each.counters.opened == 0]
    )

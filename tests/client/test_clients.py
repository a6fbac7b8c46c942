"""Both clients, against a server that records what they send."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import hostports
from hostports import AsyncClient, Client
from hostports.client.errors import ApiError, BadAnswer, DaemonSilent, DaemonUnreachable
from hostports.client.sync import PATIENCE_S
from hostports.errors import HostportsError, Kind, NoPortFree, NotFound, NotPermitted
from tests.client.server import FakeServer, Json, Reply, answer, refusal, silent, stream

#: Asks something of either client.
Call = Callable[[Any], Any]
Ask = Callable[[Path, Call], Json]

SPECS: Json = {"mode": "nat", "allow_from": [], "proxy_protocol": None}
CALLS: list[tuple[Call, str, Json | None]] = [
    (lambda to: to.networks(), "GET /v1/networks", None),
    (lambda to: to.network("a/b"), "GET /v1/networks/a%2Fb", None),
    (
        lambda to: to.create_network("lab", subnets=["10.0.0.0/24"], icc=False),
        "POST /v1/networks",
        {"name": "lab", "subnets": ["10.0.0.0/24"], "icc": False},
    ),
    (lambda to: to.remove_network("lab"), "DELETE /v1/networks/lab", None),
    (lambda to: to.remove_network("lab", force=True), "DELETE /v1/networks/lab?force=true", None),
    (lambda to: to.endpoints(), "GET /v1/endpoints", None),
    (lambda to: to.endpoints("lab"), "GET /v1/networks/lab/endpoints", None),
    (lambda to: to.endpoint("web"), "GET /v1/endpoints/web", None),
    (
        lambda to: to.add_endpoint("lab", "web", pid=7),
        "POST /v1/networks/lab/endpoints",
        {"name": "web", "pid": 7},
    ),
    (lambda to: to.remove_endpoint("web"), "DELETE /v1/endpoints/web", None),
    (
        lambda to: to.publish("web", ["8080:80", "53/udp"]),
        "POST /v1/endpoints/web/ports",
        {"specs": ["8080:80", "53/udp"], **SPECS},
    ),
    (
        lambda to: to.publish("web", "80", "relay", ["10.0.0.0/8"], "v2"),
        "POST /v1/endpoints/web/ports",
        {"specs": ["80"], "mode": "relay", "allow_from": ["10.0.0.0/8"], "proxy_protocol": "v2"},
    ),
    (
        lambda to: to.publish("web", ["192.0.2.1::80"], wait_address=3),
        "POST /v1/endpoints/web/ports",
        {"specs": ["192.0.2.1::80"], **SPECS, "wait_address": 3},
    ),
    (
        lambda to: to.plan("web", ["80"]),
        "POST /v1/plan",
        {"endpoint": "web", "specs": ["80"], **SPECS},
    ),
    (lambda to: to.unpublish("web"), "DELETE /v1/endpoints/web/ports", {"all": True}),
    (
        lambda to: to.unpublish("web", ["80"], kill=True),
        "DELETE /v1/endpoints/web/ports",
        {"specs": ["80"], "kill": True},
    ),
    (lambda to: to.ports(), "GET /v1/ports", None),
    (lambda to: to.ports("web"), "GET /v1/endpoints/web/ports", None),
    (lambda to: to.reload(), "POST /v1/reload", None),
    (lambda to: to.doctor(), "GET /v1/doctor", None),
    (lambda to: to.end_pages(), "DELETE /v1/ui", None),
    (lambda to: to.health(), "GET /v1/health", None),
]


def ask(path: Path, call: Call) -> Json:
    found = call(Client(path))
    assert isinstance(found, dict)
    return found


def ask_async(path: Path, call: Call) -> Json:
    async def asked() -> Json:
        waiting: Awaitable[Json] = call(AsyncClient(path))
        return await waiting

    return asyncio.run(asked())


@pytest.fixture(params=[ask, ask_async], ids=["sync", "async"])
def either(request: pytest.FixtureRequest) -> Ask:
    """Asks by the one client or the other."""
    chosen: Ask = request.param
    return chosen


@pytest.mark.parametrize(
    ("call", "request_line", "body"), CALLS, ids=[line for _, line, _ in CALLS]
)
def test_each_call_is_one_request_and_gives_what_was_answered(
    server: FakeServer, either: Ask, call: Call, request_line: str, body: Json | None
) -> None:
    server.on(request_line, answer({"found": 1}))
    assert either(server.path, call) == {"found": 1}
    (sent,) = server.requests
    assert sent.body == body


def test_the_clients_have_the_same_calls() -> None:
    calls = [{name for name in dir(each) if name[0] != "_"} for each in (Client, AsyncClient)]
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    ("status", "code", "kind", "error"),
    [
        (400, "unusable_input", Kind.UNUSABLE, ApiError),
        (405, "method_not_allowed", Kind.UNUSABLE, ApiError),
        (413, "too_large", Kind.UNUSABLE, ApiError),
        (403, "not_permitted", Kind.NOT_PERMITTED, NotPermitted),
        (404, "not_found", Kind.NOT_FOUND, NotFound),
        (409, "conflict", Kind.CONFLICT, ApiError),
        (500, "failed", Kind.FAILED, ApiError),
        (507, "no_port_free", Kind.EXHAUSTED, NoPortFree),
        (418, "what_comes_later", Kind.FAILED, ApiError),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(
    server: FakeServer,
    either: Ask,
    status: int,
    code: str,
    kind: Kind,
    error: type[HostportsError],
) -> None:
    server.on("GET /v1/ports", refusal(status, code, "the port is taken", "stop nginx"))
    with pytest.raises(error, match="the port is taken; stop nginx") as raised:
        either(server.path, lambda to: to.ports())
    assert isinstance(raised.value, ApiError)
    assert (raised.value.code, raised.value.status, raised.value.kind) == (code, status, kind)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", b"}"],
        [b"no HTTP at all\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}"],
        [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\r\n\r\n"],
    ],
)
def test_what_is_no_answer_is_a_clear_error(
    server: FakeServer, either: Ask, pieces: list[bytes]
) -> None:
    server.on("GET /v1/ports", Reply(pieces))
    with pytest.raises(HostportsError, match="the daemon"):
        either(server.path, lambda to: to.ports())


def test_nobody_at_the_socket_is_an_error_that_names_it(tmp_path: Path, either: Ask) -> None:
    left_behind = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(left_behind))
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", left_behind, tmp_path / "file", Path("/x" * 100)):
        with pytest.raises(DaemonUnreachable, match=f"no daemon answers at {path} .*systemctl"):
            either(path, lambda to: to.ports())


def test_a_daemon_that_says_nothing_is_waited_for_as_long_as_patience_lasts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    said = pytest.raises(DaemonSilent, match=f"{path} .silent for 0.2 seconds")
    with silent(path), said:
        Client(path, patience_s=0.2).health()


def test_so_is_one_that_takes_no_more_connections(tmp_path: Path) -> None:
    """An error at once would be one of a daemon that is only busy."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as waiting:
        listener.bind(str(path := tmp_path / "s"))
        listener.listen(0)
        taken = 0
        while not taken:
            one = waiting.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(0)
            taken = one.connect_ex(str(path))
        with pytest.raises(DaemonSilent):
            Client(path, patience_s=0.2).health()


def test_a_daemon_that_takes_its_time_is_heard(server: FakeServer) -> None:
    server.on("GET /v1/health", Reply(answer({"status": "ok"}).pieces, gate=Event(), after=0.2))
    for patience in (None, PATIENCE_S):
        assert Client(server.path, patience_s=patience).health() == {"status": "ok"}


def test_a_refusal_is_heard_before_a_long_request_is_sent(tmp_path: Path, either: Ask) -> None:
    """The daemon answers a body that is too large without reading it, and hangs up."""
    path = tmp_path / "s"
    reply = refusal(413, "too_large").pieces[0]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(reply)

        thread = Thread(target=refuse)
        thread.start()
        with pytest.raises(ApiError) as raised:
            either(path, lambda to: to.publish("web", ["80"] * 1_000_000))
        thread.join()
    assert raised.value.code == "too_large"


EVENTS = [{"event": "ports.published", "endpoint": "web"}, {"event": "firewall.rebuilt"}]


def events(path: Path) -> list[Json]:
    with Client(path).events() as happening:
        return list(happening)


def events_async(path: Path) -> list[Json]:
    async def all_of_them() -> list[Json]:
        return [event async for event in AsyncClient(path).events()]

    return asyncio.run(all_of_them())


@pytest.fixture(params=[events, events_async], ids=["sync", "async"])
def all_events(request: pytest.FixtureRequest) -> Callable[[Path], list[Json]]:
    """Reads all events by the one client or the other."""
    chosen: Callable[[Path], list[Json]] = request.param
    return chosen


def test_events_come_until_the_daemon_stops(
    server: FakeServer, all_events: Callable[[Path], list[Json]]
) -> None:
    server.on("GET /v1/events", stream(EVENTS))
    assert all_events(server.path) == EVENTS


def test_events_may_be_refused(
    server: FakeServer, all_events: Callable[[Path], list[Json]]
) -> None:
    server.on("GET /v1/events", refusal(403, "not_permitted"))
    with pytest.raises(NotPermitted):
        all_events(server.path)


def test_events_that_are_cut_off_are_an_error(
    server: FakeServer, all_events: Callable[[Path], list[Json]]
) -> None:
    *pieces, _ = stream(EVENTS).pieces
    server.on("GET /v1/events", Reply(pieces))
    with pytest.raises(BadAnswer, match="ended in the middle"):
        all_events(server.path)


def test_a_trace_is_a_stream_of_sentences(server: FakeServer) -> None:
    told = [{"sentence": "A packet comes in by eth0."}, {"sentence": "It leaves."}]
    server.on("POST /v1/trace", stream(told))
    with Client(server.path).trace(8080, probe=True) as story:
        assert list(story) == told

    async def all_of_it() -> list[Json]:
        return [each async for each in AsyncClient(server.path).trace(8080, probe=True)]

    assert asyncio.run(all_of_it()) == told
    assert [each.body for each in server.requests] == [{"port": 8080, "probe": True}] * 2


def test_events_are_seen_as_they_happen_and_can_be_left(server: FakeServer) -> None:
    server.on("GET /v1/events", stream(EVENTS, ended=False))
    with Client(server.path).events() as happening:
        assert [next(happening), next(happening)] == EVENTS

    async def seen() -> list[Json]:
        found = []
        async for event in AsyncClient(server.path).events():
            found.append(event)
            if len(found) == len(EVENTS):
                break
        return found

    assert asyncio.run(seen()) == EVENTS


def test_events_watch_before_the_first_is_asked_for(server: FakeServer) -> None:
    """What a program does after `events()` can't be missed."""
    server.on("GET /v1/events", stream([], ended=False))
    with Client(server.path).events():
        assert server.asked == ["GET /v1/events"]


def test_a_page_is_asked_for_and_told_of_by_both(server: FakeServer) -> None:
    page = {"url": "http://127.0.0.1:4711/?token=secret"}
    server.on("POST /v1/ui", stream([page]))
    with Client(server.path).page(4711) as told:
        assert list(told) == [page]

    async def pages() -> list[Json]:
        return [each async for each in AsyncClient(server.path).page()]

    assert asyncio.run(pages()) == [page]
    assert [each.body for each in server.requests] == [{"port": 4711}, {"port": 0}]


def test_the_socket_is_as_given_or_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOSTPORTS_SOCKET", raising=False)
    assert Client().socket == AsyncClient().socket == "/run/hostports/api.sock"
    monkeypatch.setenv("HOSTPORTS_SOCKET", "/tmp/x")  # noqa: S108 - only a name
    assert Client().socket == AsyncClient().socket == "/tmp/x"  # noqa: S108 - see above
    assert Client(Path("y")).socket == Client("y").socket == "y"
    assert repr(AsyncClient("y")) == "AsyncClient('y')"


def test_only_the_async_client_needs_asyncio() -> None:
    code = (
        "import sys, hostports; hostports.Client; before = 'asyncio' in sys.modules;"
        "hostports.AsyncClient; print(before, 'asyncio' in sys.modules, 'http' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


def test_the_version_is_the_packages() -> None:
    project = Path(hostports.__file__).parents[2] / "pyproject.toml"
    assert f'\nversion = "{hostports.__version__}"\n' in project.read_text()

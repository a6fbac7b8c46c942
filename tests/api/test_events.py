import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from hostports.model.event import Happening
from tests.api.fake_service import FakeService
from tests.api.serving import PATIENCE_S, Api, Json, received
from tests.api.test_routes import BINDING, BINDING6


class Watcher:
    """A client that watches, line by line."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._incoming = connection.makefile("rb")
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.status = self._incoming.readline()
        self.headers = [*iter(self._incoming.readline, b"\r\n")]

    def next(self) -> Json:
        """The next event."""
        chunk = self._chunk()
        assert chunk.endswith(b"\n")
        assert chunk.count(b"\n") == 1
        event: Json = json.loads(chunk)
        return event

    def ended(self) -> bool:
        """Whether what comes next is the proper end."""
        return not self._chunk()

    def _chunk(self) -> bytes:
        size = int(self._incoming.readline(), 16)
        return self._incoming.read(size + 2)[:size]


@contextmanager
def watching(api: Api) -> Iterator[Watcher]:
    with api.connect() as connection:
        yield Watcher(connection)


def until(true: Callable[[], object]) -> None:
    """Wait for what must come to be true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_headers_are_there_before_anything_happens(api: Api) -> None:
    with watching(api) as watcher:
        assert watcher.status == b"HTTP/1.1 200 OK\r\n"
        assert b"Content-Type: application/x-ndjson\r\n" in watcher.headers
        assert b"Transfer-Encoding: chunked\r\n" in watcher.headers


def test_who_has_the_headers_misses_nothing(api: Api) -> None:
    for number in range(20):
        with watching(api) as watcher:
            api.made("/v1/networks", {"name": f"n{number}", "subnets": [f"10.{number}.0.0/24"]})
            assert watcher.next()["network"] == f"n{number}"


def test_an_event_is_a_line(api: Api) -> None:
    with watching(api) as watcher:
        api.made("/v1/networks", {"name": "lab"})
        assert watcher.next() == {
            "event": "network.created",
            "time": "2026-01-02T03:04:05Z",
            "network": "lab",
            "endpoint": "",
            "bindings": [],
            "message": "so it is",
        }


def test_bindings_are_told_of_as_they_are_shown(web: Api) -> None:
    with watching(web) as watcher:
        web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
        web.call("DELETE", "/v1/endpoints/web/ports", {"all": True})
        for what in ("ports.published", "ports.unpublished"):
            event = watcher.next()
            assert event["event"] == what
            assert event["bindings"] == [BINDING, BINDING6]


def test_a_binding_of_a_network_that_is_gone_is_told_of_as_it_was(
    api: Api, service: FakeService
) -> None:
    with watching(api) as watcher:
        api.made("/v1/networks", {"name": "lab", "gateway_mode_ipv4": "nat-unprotected"})
        assert watcher.next()["event"] == "network.created"
        api.made("/v1/networks/lab/endpoints", {"name": "web", "pid": 1})
        api.made("/v1/endpoints/web/ports", {"specs": ["0.0.0.0:8080:80"]})
        published = watcher.next()["bindings"]
        bindings = service.registry.engine.published()
        api.call("DELETE", "/v1/networks/lab?force=true")
        assert watcher.next()["event"] == "network.removed"
        api.soon(lambda: service.tell(Happening.PORTS_LOST, "lab", bindings))
        assert watcher.next()["bindings"] == published
        assert published[0]["gateway_mode"] == "nat-unprotected"


def test_a_binding_of_a_network_that_nobody_knows_is_told_of_nevertheless(
    web: Api, service: FakeService
) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    bindings = service.registry.engine.published()
    web.call("DELETE", "/v1/networks/lab?force=true")
    with watching(web) as watcher:
        web.soon(lambda: service.tell(Happening.PORTS_LOST, "lab", bindings))
        assert watcher.next()["bindings"] == [BINDING, BINDING6]


def test_everybody_who_watches_is_told(api: Api) -> None:
    with watching(api) as one, watching(api) as other:
        api.call("POST", "/v1/reload")
        assert one.next()["event"] == other.next()["event"] == "firewall.rebuilt"


def test_a_client_that_hangs_up_is_forgotten_though_nothing_happens(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(api):
        until(lambda: len(service.watchers) == 1)
    until(lambda: not service.watchers)
    assert not caplog.records


def test_the_stream_ends_properly_when_the_application_shuts_down(
    api: Api, service: FakeService
) -> None:
    with watching(api) as watcher:
        api.stop()
        assert watcher.ended()
        assert not service.watchers


def test_the_stream_ends_properly_when_the_service_has_no_more(
    api: Api, service: FakeService
) -> None:
    with watching(api) as watcher:
        api.soon(lambda: service.watchers[0].put_nowait(None))
        assert watcher.ended()
        watcher.connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert watcher.connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_stream_that_breaks_off_does_not_look_complete(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(api) as watcher:
        service.broken = ZeroDivisionError("secret")
        api.soon(lambda: service.tell(Happening.FIREWALL_REBUILT))
        with suppress(ConnectionResetError):
            assert received(watcher.connection) == b""
    assert "the stream at '/v1/events' broke off" in caplog.text
    assert "secret" in caplog.text


def test_a_slow_reader_is_waited_for_and_makes_nothing_pile_up(
    api: Api, service: FakeService
) -> None:
    """What it doesn't take waits at the service, which decides when that is too much."""
    asked_for = 0

    async def happen() -> None:
        nonlocal asked_for
        (queue,) = service.watchers
        event = service.big_event()
        while asked_for < 2000:
            if queue.empty():
                queue.put_nowait(event)
                asked_for += 1
            await asyncio.sleep(0)

    with watching(api):
        running = asyncio.run_coroutine_threadsafe(happen(), api.loop)
        stands = -1
        while stands != asked_for:
            stands = asked_for
            time.sleep(0.3)
        # 64 KiB each; loopback and aiohttp take a few MiB of them before somebody has to read.
        assert asked_for < 500
        running.cancel()


def test_a_slow_reader_does_not_keep_the_application_from_shutting_down(
    api: Api, service: FakeService
) -> None:
    with watching(api):
        for _ in range(200):
            api.soon(lambda: service.watchers[0].put_nowait(service.big_event()))
        until(lambda: sum(each.qsize() for each in service.watchers) > 100)
        start = time.monotonic()
        api.stop()
        assert time.monotonic() - start < PATIENCE_S
        assert not service.watchers


def test_events_have_no_head(api: Api) -> None:
    answer = api.call("HEAD", "/v1/events")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")

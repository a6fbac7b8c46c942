"""Web pages are served for as long as somebody reads the answer, and not a moment longer."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pytest

from hostports.errors import PageFailed
from tests.api.fake_service import TAKEN, FakeService
from tests.api.serving import Api, Json, received
from tests.api.test_events import until


class Served:
    """Somebody who has a page served."""

    def __init__(self, connection: socket.socket, incoming: IO[bytes], body: bytes) -> None:
        self.connection = connection
        self._incoming = incoming
        head = b"POST /v1/ui HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        self.status = self._incoming.readline()
        self.headers = [*iter(self._incoming.readline, b"\r\n")]

    def line(self) -> Json:
        """The next line; none at the end."""
        size = int(self._incoming.readline(), 16)
        line = self._incoming.read(size + 2)[:size]
        document: Json = json.loads(line) if line else {}
        return document


@contextmanager
def served(api: Api, body: bytes = b"{}") -> Iterator[Served]:
    with api.connect() as connection, connection.makefile("rb") as incoming:
        yield Served(connection, incoming, body)


def test_the_answer_is_where_the_page_is(api: Api) -> None:
    with served(api, b'{"port": 8000}') as page:
        assert page.status == b"HTTP/1.1 200 OK\r\n"
        assert b"Content-Type: application/x-ndjson\r\n" in page.headers
        assert page.line() == {"url": "http://127.0.0.1:8000/?token=secret"}


def test_the_page_goes_with_whoever_asked_for_it(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    with served(api) as page:
        page.line()
        assert len(service.pages) == 1
    until(lambda: not service.pages)
    assert not caplog.records


def test_the_page_goes_also_if_nobody_waited_for_the_answer(api: Api, service: FakeService) -> None:
    for _ in range(20):
        with api.connect() as connection:
            connection.sendall(b"POST /v1/ui HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    api.call("GET", "/v1/health")
    until(lambda: not service.pages)


def test_all_pages_can_be_taken_off(api: Api, service: FakeService) -> None:
    with served(api) as one, served(api) as other:
        one.line(), other.line()
        assert api.call("DELETE", "/v1/ui").status == 204
        assert one.line() == other.line() == {}
    until(lambda: not service.pages)
    assert api.call("DELETE", "/v1/ui").status == 204


def test_a_port_that_is_taken_is_a_conflict(api: Api, service: FakeService) -> None:
    answer = api.call("POST", "/v1/ui", {"port": TAKEN})
    assert (answer.status, answer.code) == (409, "conflict")
    assert "nginx" in answer.message
    assert not service.pages


@pytest.mark.parametrize("port", [-1, 65536, "80", None, 1.5])
def test_what_is_no_port_is_refused(api: Api, service: FakeService, port: object) -> None:
    answer = api.call("POST", "/v1/ui", {"port": port})
    assert (answer.status, answer.code) == (400, "unusable_input")
    assert "write a port, or 0 for a free one" in answer.hint
    assert not service.pages


def test_pages_end_when_the_application_shuts_down(api: Api, service: FakeService) -> None:
    with served(api) as page:
        page.line()
        api.stop()
        assert page.line() == {}
        assert not service.pages


def test_a_page_that_fails_does_not_look_as_if_it_was_taken_off(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    with served(api) as page:
        page.line()
        (fake,) = service.pages
        fake.broken = PageFailed("its process has ended")
        api.soon(fake.off.set)
        with suppress(ConnectionResetError):
            assert received(page.connection) == b""
    assert "the stream at '/v1/ui' broke off" in caplog.text
    until(lambda: not service.pages)

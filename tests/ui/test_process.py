"""The page's process: real, over TCP, told what the daemon would tell it."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cli.samples import binding
from tests.relay.proc import Process
from tests.relay.waiting import PATIENCE_S, eventually

TOKEN = "the-token"  # noqa: S105 - of this test
PAGE = f"/?token={TOKEN}"
OURS = {"Authorization": f"Bearer {TOKEN}"}


class Page:
    """A page's process, and the daemon's end of its pipes."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hostports.ui", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.send(TOKEN)
        assert self.heard() == "ready"

    def send(self, line: str) -> None:
        self.stdin.write(line.encode() + b"\n")
        self.stdin.flush()

    def sample(self, at: float, **changes: object) -> None:
        self.send(json.dumps({"at": at, "bindings": [binding(**changes)]}))

    def heard(self) -> str:
        """The next word that it tells the daemon."""
        return self.stdout.readline().decode().strip()

    def connect(self) -> http.client.HTTPConnection:
        host, port = self.address
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        with closing(self.connect()) as connection:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def close(self) -> None:
        self.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        self.stdout.close()


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.close()


class Looking:
    """Somebody who reads samples."""

    def __init__(self, page: Page) -> None:
        self.connection = page.connect()
        self.connection.request("GET", "/samples", headers=OURS)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200

    def line(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.answer.readline())

    def leave(self) -> None:
        self.answer.close()
        self.connection.close()


def test_the_page_is_one_document_that_may_load_nothing(page: Page) -> None:
    status, headers, body = page.ask(PAGE)
    assert status == 200
    assert "src=" not in body.decode()
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_nothing_is_kept_or_shown_elsewhere(page: Page) -> None:
    for path in (PAGE, "/", f"/nowhere?token={TOKEN}"):
        _, headers, _ = page.ask(path)
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["Set-Cookie"] is None


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 403),
        ("/?token=wrong", "GET", {}, 403),
        ("/samples", "GET", {}, 403),
        ("/samples", "GET", {"Authorization": "Bearer wrong"}, 403),
        ("/nowhere", "GET", {}, 403),
        (PAGE, "GET", {"Host": "evil.example"}, 403),
        (PAGE, "GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/samples", "GET", {**OURS, "Origin": "http://evil.example"}, 403),
        (PAGE, "POST", {}, 405),
        (PAGE, "HEAD", {}, 405),
        ("/samples", "OPTIONS", OURS, 405),
        (f"/nowhere?token={TOKEN}", "GET", {}, 404),
    ],
)
def test_only_who_has_the_token_is_served(
    page: Page, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    assert page.ask(path, method, headers)[0] == status


def test_who_looks_sees_each_sample(page: Page) -> None:
    viewer = Looking(page)
    assert page.heard() == "looking"
    page.sample(1.0, bytes=100)
    assert len(viewer.line()["ports"]) == 1
    assert viewer.line()["at"] == 1.0
    page.sample(2.0, bytes=300)
    said = viewer.line()
    ((figures),) = said["figures"].values()
    assert figures[1] == 200.0
    viewer.leave()
    assert page.heard() == "away"


def test_the_daemon_is_asked_for_samples_while_anybody_looks(page: Page) -> None:
    one = Looking(page)
    assert page.heard() == "looking"
    page.sample(1.0)
    other = Looking(page)
    assert "ports" in other.line()  # at once, though there is nothing new
    one.leave()
    page.sample(2.0)
    assert other.line()["at"] == 1.0
    assert other.line()["at"] == 2.0
    other.leave()
    assert page.heard() == "away"


def test_who_looks_again_after_a_while_starts_anew(page: Page) -> None:
    """A rate over the time when nobody looked would be no rate of now."""
    viewer = Looking(page)
    page.heard()
    page.sample(1.0, bytes=0)
    viewer.line()
    viewer.leave()
    assert page.heard() == "away"
    viewer = Looking(page)
    assert page.heard() == "looking"
    page.sample(100.0, bytes=1000)
    assert "ports" in viewer.line()
    ((figures),) = viewer.line()["figures"].values()
    assert figures[:3] == [0, 0, 0]
    viewer.leave()


def test_trouble_is_passed_on(page: Page) -> None:
    viewer = Looking(page)
    page.send('{"trouble": "the firewall is gone"}')
    viewer.line(), viewer.line()
    assert viewer.line() == {"trouble": "the firewall is gone"}
    viewer.leave()


def test_the_process_ends_with_the_daemon_whoever_looks(page: Page) -> None:
    """Its end of the pipe closes, however the daemon ended."""
    viewer = Looking(page)
    page.stdin.close()
    assert page.process.wait(PATIENCE_S) == 0
    viewer.leave()


def test_the_process_has_no_right(page: Page) -> None:
    process = Process(page.process.pid)
    assert process.status("Uid") == ["65534"] * 4
    assert process.status("Groups") == []
    assert {int(process.status(f"Cap{each}")[0], 16) for each in ("Prm", "Eff", "Bnd")} == {0}
    assert process.status("NoNewPrivs") == ["1"]


def test_more_connections_than_anybody_needs_are_closed_and_the_page_goes_on(page: Page) -> None:
    idle = [socket.create_connection(page.address) for _ in range(400)]
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        page.ask(PAGE)
    for each in idle:
        each.close()

    def served() -> bool:
        try:
            return page.ask(PAGE)[0] == 200
        except (ConnectionError, http.client.HTTPException):
            return False

    eventually(served, "the page")


def test_what_is_no_http_ends_its_own_connection_only_and_fills_no_log(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    for rubbish in (
        os.urandom(4096) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
    ):
        with socket.create_connection(page.address, PATIENCE_S) as stranger:
            stranger.sendall(rubbish)
            stranger.recv(1 << 16)
    assert page.ask(PAGE)[0] == 200
    page.close()
    assert capfd.readouterr().err == ""

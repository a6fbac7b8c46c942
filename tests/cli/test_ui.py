"""``hostports ui``: prints where the page is, and waits."""

import json
import subprocess
import sys
from signal import SIGINT

from tests.cli.conftest import Cli
from tests.client.server import PATIENCE_S, FakeServer, Reply, answer, refusal, stream

PAGE = {"url": "http://127.0.0.1:4711/?token=secret"}


def test_the_url_is_printed_and_the_end_is_told(server: FakeServer, cli: Cli) -> None:
    server.on("POST /v1/ui", stream([PAGE]))
    done = cli("ui")
    assert (done.status, done.out) == (0, f"{PAGE['url']}\n")
    assert "until Ctrl-C" in done.err
    assert done.err.endswith("hostports: the page was taken off\n")
    assert server.requests[0].body == {"port": 0}


def test_programs_get_a_document_and_nothing_else(server: FakeServer, cli: Cli) -> None:
    server.on("POST /v1/ui", stream([PAGE]))
    done = cli("ui", "--json", "--port", "4711")
    assert (done.document, done.err) == (PAGE, "")
    assert server.requests[0].body == {"port": 4711}


def test_ctrl_c_ends_it_and_is_no_failure(server: FakeServer) -> None:
    server.on("POST /v1/ui", stream([PAGE], ended=False))
    command = [sys.executable, "-m", "hostports", "--socket", str(server.path), "ui", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline()) == PAGE
        process.send_signal(SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""


def test_off_takes_all_pages_off(server: FakeServer, cli: Cli) -> None:
    server.on("DELETE /v1/ui", answer())
    done = cli("ui", "--off")
    assert (done.status, done.out) == (0, "no page is served now\n")
    assert cli("ui", "--off", "--json").document == {}


def test_a_taken_port_is_a_conflict(server: FakeServer, cli: Cli) -> None:
    server.on("POST /v1/ui", refusal(409, "conflict", "127.0.0.1:80 is held by nginx (pid 7)"))
    done = cli("ui", "--port", "80")
    assert (done.status, done.out) == (4, "")
    assert "nginx" in done.err


def test_what_is_no_port_is_refused_at_once(server: FakeServer, cli: Cli) -> None:
    for words in (["--port", "65536"], ["--port", "-1"], ["--port", "x"], ["--off", "--port", "1"]):
        assert cli("ui", *words).status == 2
    assert server.asked == []


def test_a_page_that_broke_off_is_a_failure(server: FakeServer, cli: Cli) -> None:
    *pieces, _ = stream([PAGE]).pieces
    server.on("POST /v1/ui", Reply(pieces))
    done = cli("ui")
    assert done.status == 1
    assert "ended in the middle" in done.err

"""Tables, lines and numbers, and where they go."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from hostports.cli.bindings import age, amount
from hostports.cli.output import Console, Line, Table
from tests.cli.samples import IPV4, IPV6
from tests.client.server import PATIENCE_S, FakeServer, Reply, answer, stream

COMMAND = [sys.executable, "-m", "hostports"]
PORTS = {"bindings": [IPV4, IPV6]}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2**63, "9223 PB"),
    ],
)
def test_bytes_have_few_digits_and_a_unit(count: int, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (86_399, "23h"), (200_000, "2d")],
)
def test_an_age_has_one_unit(seconds: int, text: str) -> None:
    assert age("1970-01-02T00:00:00Z", 86_400 + seconds) == text


def test_an_age_that_can_not_be_told_is_shown_as_it_came() -> None:
    assert age("yesterday") == "yesterday"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    table = Table(("NAME", "N"), [("a\tb", "1"), ("long name", "100")], frozenset({"N"}))
    assert list(table.lines()) == ["NAME         N", "a\\tb         1", "long name  100"]


def test_for_programs_sentences_are_left_out() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err)
    console.json = True
    console.show({"warnings": ["w"]}, lambda _: [Line("x")])
    console.show_aside({"x": 1}, lambda _: [Line("x")])
    console.tell("x")
    assert (json.loads(out.getvalue()), err.getvalue()) == ({"warnings": ["w"]}, '{"x": 1}\n')


def on_terminal(words: Sequence[str], socket: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """The status of a command whose output is a terminal, and what that shows."""
    ours, its = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "HOSTPORTS_SOCKET": str(socket)}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*COMMAND, *words], stdin=its, stdout=its, stderr=its, env={**env, **environ}
    ) as process:
        os.close(its)
        shown = b""
        deadline = monotonic() + PATIENCE_S
        while select.select([ours], [], [], max(0, deadline - monotonic()))[0]:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the last one at the other end is gone
                break
        os.close(ours)
        return process.wait(PATIENCE_S), shown.decode()


@pytest.mark.parametrize("words", [["ls"], ["doctor"]])
def test_a_terminal_shows_colours(server: FakeServer, words: list[str]) -> None:
    finding = {"severity": "ok", "what": "all is well", "mend": ""}
    server.on("GET /v1/ports", answer(PORTS))
    server.on("GET /v1/doctor", answer({"findings": [finding]}))
    status, shown = on_terminal(words, server.path, {})
    assert status == 0
    assert "\x1b[" in shown


def test_colours_change_nothing_else_of_a_table(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer(PORTS), answer(PORTS))
    _, coloured = on_terminal(["ls"], server.path, {})
    _, plain = on_terminal(["ls"], server.path, {"NO_COLOR": "1"})
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colours_shows_the_plain_table(
    server: FakeServer, environ: dict[str, str]
) -> None:
    server.on("GET /v1/ports", answer(PORTS))
    status, shown = on_terminal(["ls"], server.path, environ)
    assert (status, "\x1b" in shown) == (0, False)
    assert "web       tcp    0.0.0.0:8080  10.88.0.2:80  nat+relay" in shown


def test_a_narrow_terminal_cuts_no_address(server: FakeServer) -> None:
    long = {**IPV6, "host_ip": "2001:db8:1111:2222:3333:4444:5555:6666"}
    server.on("GET /v1/ports", answer({"bindings": [long]}))
    _, shown = on_terminal(["ls"], server.path, {})
    assert "[2001:db8:1111:2222:3333:4444:5555:6666]:8080" in shown
    assert "[fd00::2]:80" in shown


def test_names_are_no_markup(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer({"bindings": [{**IPV4, "endpoint": "[red]x[/red]"}]}))
    _, shown = on_terminal(["ls"], server.path, {})
    assert "[red]x[/red]" in shown


def test_json_has_no_colours_anywhere(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer(PORTS))
    _, shown = on_terminal(["ls", "--json"], server.path, {})
    assert json.loads(shown) == PORTS


@pytest.mark.parametrize(
    ("line", "request_line", "said"),
    [
        ("publish web 8080:80", "POST /v1/endpoints/web/ports", "80/tcp -> 0.0.0.0:8080"),
        ("doctor", "GET /v1/doctor", "ok: all is well"),
        ("network rm lab", "DELETE /v1/networks/lab", "network lab removed"),
        ("top -n 1 -d 0.1", "GET /v1/ports", "2 ports"),
    ],
)
def test_who_waits_at_a_terminal_sees_that_something_happens(
    server: FakeServer, line: str, request_line: str, said: str
) -> None:
    finding = {"severity": "ok", "what": "all is well", "mend": ""}
    whole = answer({**PORTS, "findings": [finding]}).pieces
    server.on(request_line, Reply(whole, gate=Event(), after=2.5), Reply(whole))
    status, shown = on_terminal(line.split(), server.path, {})
    assert status == 0
    assert "waiting for the daemon" in shown
    assert said in shown[shown.rindex("waiting for the daemon") :]


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer({"bindings": [IPV4] * 20_000}))
    server.on("GET /v1/events", stream([{"event": "x"}] * 20_000))
    for words in (["ls"], ["ls", "--json"], ["events"]):
        with subprocess.Popen(
            [*COMMAND, "--socket", str(server.path), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(PATIENCE_S) == 0


def test_output_that_can_not_be_written_is_a_failure(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer(PORTS))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "--socket", str(server.path), "ls"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "hostports: no space left on device\n")


def test_a_closed_output_is_no_failure(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer(PORTS))
    line = f"{sys.executable} -m hostports --socket {server.path} ls >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)  # noqa: S607
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_that_can_not_spell_a_letter_escapes_it(server: FakeServer) -> None:
    server.on("GET /v1/ports", answer({"bindings": [{**IPV4, "endpoint": "wéb"}]}))
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = [*COMMAND, "--socket", str(server.path), "ls"]
    done = subprocess.run(words, capture_output=True, check=False, env=env)
    assert done.returncode == 0
    assert b"w\\xe9b" in done.stdout


def test_ctrl_c_ends_a_stream_without_a_word(server: FakeServer) -> None:
    server.on("GET /v1/events", stream([{"event": "x"}], ended=False))
    with subprocess.Popen(
        [*COMMAND, "--socket", str(server.path), "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"  # shown at once, though no terminal reads
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == (b"", b"")
        assert process.returncode == 130

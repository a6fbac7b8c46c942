"""``hostports top``: for programs, for pipes, and on a terminal with its keys."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.cli.keys import Viewing, pressed
from hostports.cli.rows import Look, View, moving, total, viewed
from tests.cli.conftest import Cli
from tests.cli.samples import IPV4, ROUTED, UDP, binding
from tests.client.server import PATIENCE_S, FakeServer, Json, Reply, answer, refusal

#: A tenth of a second is the shortest delay.
SOON = ("-d", "0.1")


def ports(*bindings: Json) -> Reply:
    return answer({"bindings": [*bindings]})


def busier(times: int) -> Json:
    """The web server some time later."""
    return binding(
        packets=IPV4["packets"] + 100 * times,
        bytes=IPV4["bytes"] + 100_000 * times,
        connections=IPV4["connections"] + 10 * times,
    )


def test_a_pipe_gets_as_many_tables_as_were_asked_for(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", ports(IPV4, UDP), ports(busier(1), UDP), ports(busier(1), UDP))
    done = cli("top", "--batch", "-n", "2", *SOON)
    assert (done.status, done.err) == (0, "")
    frames = done.out.split("\n\n")
    assert frames.pop() == ""
    assert len(frames) == 2
    sentence, heads, first, second = frames[0].splitlines()
    assert sentence.startswith("2 ports: ")
    assert heads.split() == [
        *("ENDPOINT", "HOST", "CONTAINER"),
        *("PACKETS/S", "BYTES/S", "CONNS/S"),
    ]
    # The busiest comes first; how busy depends on how long a tenth of a second took.
    assert first.startswith("web       0.0.0.0:8080/tcp  10.88.0.2:80 ")
    assert second.split() == ["dns", "0.0.0.0:53/udp", "10.88.0.2:53", "0", "0", "B", "0"]
    assert frames[1].splitlines()[0] == "2 ports: 0 packets/s, 0 B/s, 0 connections/s"


def test_without_a_terminal_batch_goes_without_saying(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", ports(IPV4))
    assert cli("top", "-n", "1", *SOON).out.startswith("1 port: 0 packets/s")


def test_programs_get_a_document_a_line(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", ports(IPV4), ports(busier(1)), ports(busier(1)))
    done = cli("top", "-n", "2", *SOON, "--json")
    first, second = map(json.loads, done.out.splitlines())
    assert first.keys() == {"time", "ports"}
    assert first["time"] < second["time"]
    (port,) = first["ports"]
    assert {name: port[name] for name in IPV4} == busier(1)
    assert port["bytes_per_s"] == pytest.approx(1000 * port["packets_per_s"], rel=1e-3)
    assert port["packets_per_s"] > 0
    assert second["ports"][0]["packets_per_s"] == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-d", "0"], "--delay: '0' is no time from 0.1 to 86400 seconds"),
        (["-d", "nan"], "'nan'"),
        (["-d", "1e9"], "'1e9'"),
        (["-d", "soon"], "'soon'"),
        (["-n", "0"], "--iterations 0"),
        (["-n", "x"], "'x'"),
        (["--sort", "age"], "'age'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    server: FakeServer, cli: Cli, words: list[str], named: str
) -> None:
    done = cli("top", *words)
    assert done.status == 2
    assert named in done.err
    assert server.asked == []


def test_a_daemon_that_goes_ends_it(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", ports(IPV4), ports(IPV4), refusal(500, "failed", "nft is gone"))
    done = cli("top", *SOON)
    assert done.status == 1
    assert "nft is gone" in done.err


def shown(view: View, *bindings: Json) -> list[str]:
    """Endpoints in the order in which they are shown."""
    look = Look(1.0, bindings)
    return [each["endpoint"] for each in viewed(moving(look, look), view)]


def test_a_filter_is_words_that_are_all_in_a_row() -> None:
    three = (IPV4, UDP, {**ROUTED, "endpoint": "api"})
    assert shown(View("host"), *three) == ["api", "dns", "web"]
    assert shown(View("host", filter="UDP"), *three) == ["dns"]
    assert shown(View("host", filter="tcp 10.88"), *three) == ["api", "web"]
    assert shown(View("host", filter="tcp dns"), *three) == []


def test_rates_are_sorted_from_the_highest_and_names_from_the_first() -> None:
    still, moves = Look(1.0, [UDP, IPV4]), Look(2.0, [UDP, busier(1)])
    found = moving(still, moves)
    for sort, reverse, first in (
        *((sort, False, "web") for sort in ("packets", "bytes", "connections")),
        ("bytes", True, "dns"),
        ("endpoint", False, "dns"),
        ("endpoint", True, "web"),
    ):
        assert viewed(found, View(sort, reverse))[0]["endpoint"] == first
    assert total(found) == "2 ports: 100 packets/s, 100 kB/s, 10 connections/s"


@given(st.text(st.sampled_from("pbcehr/q\x1b\r\x7fxyz ")))
def test_keys_end_it_only_by_a_q_that_is_no_filters(keys: str) -> None:
    now = Viewing(View())
    for key in keys:
        was = now
        now = pressed(now, key)
        assert now.over == (was.over or (key == "q" and not was.typing))


def test_keys_choose_what_is_shown() -> None:
    start = Viewing(View())
    assert pressed(start, "p").view == View("packets")
    assert pressed(start, "er").view == View("endpoint", reverse=True)
    assert pressed(start, "\x1b[A") == start  # an arrow
    typing = pressed(start, "/webq\x7f")
    assert typing == Viewing(View(filter="web"), typing=True)
    assert pressed(typing, "\r") == Viewing(View(filter="web"))
    assert pressed(typing, "\x1b") == start


class Terminal:
    """A terminal on which the command runs."""

    def __init__(self, socket: Path, *words: str) -> None:
        self.ours, self.its = pty.openpty()
        termios.tcsetwinsize(self.its, (24, 120))
        self.settings = termios.tcgetattr(self.its)
        command = [sys.executable, "-m", "hostports", "--socket", str(socket), "top", *words]
        self.process = subprocess.Popen(
            command,
            stdin=self.its,
            stdout=self.its,
            stderr=self.its,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )
        self.seen = ""

    def see(self, text: str) -> None:
        """Wait until something is shown, after what was seen before."""
        deadline = monotonic() + PATIENCE_S
        while text not in self.seen:
            assert select.select([self.ours], [], [], max(0, deadline - monotonic()))[0], self.seen
            self.seen += os.read(self.ours, 65_536).decode()
        self.seen = self.seen.partition(text)[2]

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def ended(self) -> int:
        """Its status; the terminal must be as it was."""
        deadline = monotonic() + PATIENCE_S
        status = None
        while status is None and monotonic() < deadline:
            status = self.process.poll()  # all that it has shown can be read then
            while select.select([self.ours], [], [], 0.01)[0]:
                self.seen += os.read(self.ours, 65_536).decode()
        assert status is not None
        assert termios.tcgetattr(self.its) == self.settings
        return status


@contextmanager
def terminal(socket: Path, *words: str) -> Iterator[Terminal]:
    made = Terminal(socket, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.ours)
        os.close(made.its)


def test_a_terminal_shows_what_moves_until_q(server: FakeServer) -> None:
    server.on("GET /v1/ports", *(ports(busier(times), UDP) for times in range(500)))
    with terminal(server.path, *SOON) as top:
        top.see("2 ports: 0 packets/s")  # before there is anything to compare
        top.see("kB/s")
        top.press("e")
        top.see("by endpoint")
        top.press("/udp")
        top.see("1 port: ")
        top.press("\rq")
        assert top.ended() == 0
        assert "\x1b[?25h" in top.seen  # the cursor is back
        assert top.seen.endswith("\x1b[?1049l")  # and so is what was there before


def test_keys_are_obeyed_though_the_next_look_is_far_away(server: FakeServer) -> None:
    server.on("GET /v1/ports", ports(IPV4))
    with terminal(server.path, "-d", "3600") as top:
        top.see("by bytes")
        top.press("c")
        top.see("by connections")
        top.press("q")
        assert top.ended() == 0
    assert len(server.asked) == 1


def test_a_terminal_is_left_as_it_was_after_ctrl_c_and_after_errors(server: FakeServer) -> None:
    server.on("GET /v1/ports", ports(IPV4))
    with terminal(server.path) as top:
        top.see("by bytes")
        top.process.send_signal(SIGINT)
        assert top.ended() == 130
    server.on("GET /v1/ports", ports(IPV4), refusal(500, "failed", "nft is gone"))
    with terminal(server.path, *SOON) as top:
        assert top.ended() == 1
        assert "nft is gone" in top.seen


def test_a_terminal_shows_no_more_looks_than_were_asked_for(server: FakeServer) -> None:
    server.on("GET /v1/ports", ports(IPV4))
    with terminal(server.path, *SOON, "-n", "3") as top:
        assert top.ended() == 0
    assert len(server.asked) == 4

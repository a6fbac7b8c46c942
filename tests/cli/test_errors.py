"""What goes wrong: one line for people, one document for programs, one status for scripts."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hostports.cli.main import main
from tests.cli.conftest import Cli
from tests.client.server import FakeServer, Reply, answer, refusal


@pytest.mark.parametrize(
    ("status", "code", "exit_status"),
    [
        (400, "unusable_input", 2),
        (405, "method_not_allowed", 2),
        (413, "too_large", 2),
        (409, "conflict", 4),
        (507, "no_port_free", 4),
        (404, "not_found", 5),
        (403, "not_permitted", 6),
        (500, "failed", 1),
        (503, "what_comes_later", 1),
    ],
)
def test_each_code_has_its_exit_status(
    server: FakeServer, cli: Cli, status: int, code: str, exit_status: int
) -> None:
    server.on("POST /v1/endpoints/web/ports", refusal(status, code, "8080 is nginx's", "stop it"))
    done = cli("publish", "web", "8080:80")
    assert done == (exit_status, "", "hostports: 8080 is nginx's; stop it\n")
    done = cli("publish", "web", "8080:80", "--json")
    assert (done.status, done.out) == (exit_status, "")
    assert done.error == {"code": code, "message": "8080 is nginx's", "hint": "stop it"}


def test_no_daemon_is_a_status_of_its_own_with_the_mend(cli: Cli) -> None:
    done = cli("ls", "--socket", "/nowhere/api.sock")
    assert (done.status, done.out) == (3, "")
    for word in ("/nowhere/api.sock", "systemctl start hostports", "hostports daemon", "--socket"):
        assert word in done.err
    assert done.err.count("\n") == 1
    assert cli("ls", "--json", "--socket", "/nowhere").error["code"] == "unreachable"


def test_a_socket_of_others_is_a_status_of_its_own_with_the_mend(server: FakeServer) -> None:
    """Who is not root and not in the group; root becomes nobody to find out."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    server.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    code = (  # the first call imports what nobody may not be able to read
        "import os, sys, hostports.cli.main as m; m.main(['--socket', '/nowhere', 'ls'])\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"sys.exit(m.main(['--socket', {str(server.path)!r}, 'ls']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (6, "")
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"hostports: {server.path} may not be opened; run as root, or join ")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "COMMAND"),
        ("frobnicate", "'frobnicate'"),
        ("network", "COMMAND"),
        ("network frobnicate", "'frobnicate'"),
        ("publish", "ENDPOINT"),
        ("publish web", "SPEC"),
        ("publish -p 8080:80", "ENDPOINT"),
        ("publish web -p 80/icmp", "icmp"),
        ("unpublish web -p 80 --all", "--all"),
        ("publish web 80 --mode magic", "'magic'"),
        ("publish web 80 --proxy-protocol v1", "'v1'"),
        ("publish web 80 --frob", "--frob"),
        ("publish web 80 --wait-address soon", "'soon'"),
        (
            "publish web 80 --wait-address -1",
            "--wait-address: '-1' is no time from 0 to 3600 seconds",
        ),
        ("publish web 80 --wait-address nan", "'nan'"),
        ("plan web 80 --wait-address 3", "--wait-address"),
        ("publish web 80 --mod nat", "--mod"),
        ("publish web 8080-8081-8082:80", "8080-8081-8082:80"),
        ("publish web 80 70000:80", "70000"),
        ("plan web 80/icmp", "icmp"),
        ("unpublish web 80/icmp", "icmp"),
        ("unpublish web", "--all"),
        ("unpublish web 80 --all", "--all"),
        ("unpublish web --all 80", "--all"),
        ("port web 80x", "80x"),
        ("port web 80/icmp", "icmp"),
        ("port web 65536", "65536"),
        ("endpoint add lab web", "--netns"),
        ("endpoint add lab web --pid x", "'x'"),
        ("endpoint add lab web --pid 1 --netns x", "--netns"),
        ("network create lab --gateway-mode-ipv4 magic", "'magic'"),
        ("run -p 8080:80", "CMD"),
        ("run -p 8080:80 --", "CMD"),
        ("run -p 80/icmp -- true", "icmp"),
        ("completion fish", "'fish'"),
        ("daemon --firewall magic", "'magic'"),
        ("doctor --probe", "--trace"),
        ("doctor --seconds 5", "--trace"),
        ("doctor --trace 80 --seconds 900", "'900' is no time from 0.1 to 600 seconds"),
        ("doctor --trace 80800", "'80800'"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_word(
    server: FakeServer, cli: Cli, line: str, word: str
) -> None:
    """And the daemon isn't even asked."""
    done = cli(*line.split())
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("hostports: ")
    assert done.err.count("\n") == 1
    assert word in done.err
    done = cli("--json", *line.split())
    assert (done.status, done.error["code"]) == (2, "unusable_input")
    assert server.requests == []


@pytest.mark.parametrize(
    ("line", "word", "command"),
    [
        ("port web 80 443", "443", "hostports port"),
        ("publish web --mod nat 80", "--mod nat 80", "hostports publish"),
        ("run --proxy-protocol v2 -- true", "--proxy-protocol", "hostports run"),
        ("network rm a b", "b", "hostports network rm"),
        ("network --frob rm a", "--frob", "hostports network"),
        ("--frob ls", "--frob", "hostports"),
    ],
)
def test_a_word_that_a_command_does_not_know_leads_to_its_own_help(
    cli: Cli, line: str, word: str, command: str
) -> None:
    said = f"hostports: unrecognized arguments: {word}; see `{command} --help`\n"
    assert cli(*line.split()) == (2, "", said)


@pytest.mark.parametrize("words", ["-d", "-it", "--rm", "-P", "-dp 8080:80", "--name w --rm -it"])
def test_flags_of_docker_run_that_mean_nothing_are_refused_with_the_reason(
    cli: Cli, words: str
) -> None:
    done = cli("run", *words.split(), "--", "true")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "unrecognized arguments: -" in done.err
    assert "; there is no image, CMD has the terminal, and nothing stays of it" in done.err


def test_every_error_of_a_release_has_a_line(server: FakeServer, cli: Cli) -> None:
    server.on("DELETE /v1/endpoints/web", refusal(500, "failed", "one\ntwo", ""))
    assert cli("endpoint", "rm", "web").err == "hostports: one\nhostports: two\n"


def test_specs_are_not_required_where_the_endpoint_is_missing(cli: Cli) -> None:
    """They may come from a compose file."""
    assert "SPEC" not in cli("publish").err


def test_what_a_terminal_would_obey_is_shown_instead(server: FakeServer, cli: Cli) -> None:
    """A process may call itself what it wants, and messages name processes."""
    server.on("GET /v1/ports", refusal(409, "conflict", "held by \x1b[31m\x07é", ""))
    assert cli("ls").err == "hostports: held by \\x1b[31m\\x07é\n"


def test_a_daemon_that_hangs_up_is_a_failure(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", Reply([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]))
    done = cli("ls")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "ended in the middle" in done.err


def test_what_was_printed_before_an_error_comes_first(server: FakeServer, cli: Cli) -> None:
    cut_off = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"event": "x"}\n\n\r\n'
    server.on("GET /v1/events", Reply([cut_off]))
    done = cli("events")
    assert (done.status, done.out) == (1, "x\n")


def test_the_socket_comes_from_the_environment_unless_it_is_given(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOSTPORTS_SOCKET", str(server.path))
    server.on("GET /v1/ports", answer({"bindings": []}))
    assert main(["ls"]) == 0
    assert main(["ls", "--socket", "/nowhere"]) == 3
    assert "/nowhere" in capsys.readouterr().err


def test_a_word_that_is_no_text_is_refused_as_any_other(server: FakeServer, cli: Cli) -> None:
    """The kernel takes any bytes for arguments."""
    done = cli("port", "w\udcffb")
    assert done.status == 5
    assert server.asked == ["GET /v1/endpoints/w%FFb/ports"]
    assert cli("publish", "web", "80\udcff").status == 2


def test_both_ways_to_start_it_are_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("hostports")
    ways = [[sys.executable, "-m", "hostports"], [sys.executable, "-m", "hostports.cli"]]
    if script.exists():
        ways.append([str(script)])
    for way in ways:
        words = [*way, "--socket", str(tmp_path / "s"), "ls"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("hostports: no daemon answers at")

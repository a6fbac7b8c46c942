"""``hostports run``: real children in real namespaces, and a daemon that only answers."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import pytest

from tests.cli.samples import IPV4, NETWORK
from tests.cli.stub_daemon import instruct
from tests.client.server import PATIENCE_S, FakeServer, Json, Reply, answer, refusal
from tests.relay.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make namespaces")

#: What is asked from the first to the last.
ALL = [
    "GET /v1/health",
    "GET /v1/networks/default",
    "POST /v1/networks",
    "POST /v1/networks/default/endpoints",
    "POST /v1/endpoints/web/ports",
    "DELETE /v1/endpoints/web",
    "DELETE /v1/networks/default",
]
MAIN = "import sys; from hostports.cli.main import main; sys.exit(main(private_daemon={!r}))"
WEB = ("run", "--name", "web", "-p", "8080:80", "--")


class Stub:
    """How to start the daemon that `run` starts, and what came of it."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self._record = temporary / "record"

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "tests.cli.stub_daemon", str(self._record), *options]

    def has_ended(self) -> bool:
        return self._record.exists() and self._record.read_text().endswith("}")

    def ended(self) -> Json:
        """What it has written down at its end."""
        found: Json = json.loads(self._record.read_text())
        return found


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A killed command leaves its temporary files, which belong into a directory that goes."""
    with TemporaryDirectory(prefix="hp-") as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        yield Stub(Path(temporary))


@pytest.fixture
def daemon(server: FakeServer) -> Iterator[FakeServer]:
    """A daemon that runs already."""
    instruct(server)
    yield server
    for request in server.requests:  # whatever went wrong, nothing may be left
        if request.method == "POST" and request.path.endswith("/endpoints"):
            pid = request.body["pid"]
            eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"the end of {pid}")  # type: ignore[misc]


def start(
    words: Sequence[str], private_daemon: Sequence[str] = (), socket: str = "/nowhere"
) -> "subprocess.Popen[str]":
    """Start a command line in a session of its own, which a terminal's signals can be sent to."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN.format(list(private_daemon)), *words],
        env={**os.environ, "HOSTPORTS_SOCKET": socket},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def done(process: "subprocess.Popen[str]", stdin: str = "") -> tuple[int, str, str]:
    try:
        out, err = process.communicate(stdin, timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out, err


def at(daemon: FakeServer, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a command line where a daemon is running."""
    return done(start(words, socket=str(daemon.path)), stdin)


def test_without_a_daemon_one_runs_for_as_long_as_the_command(stub: Stub) -> None:
    status, out, err = done(start([*WEB, "sh", "-c", "echo hello; exit 7"], stub.command()))
    assert (status, out) == (7, "hello\n")
    assert err == "80/tcp -> 0.0.0.0:8080\nhostports: warning: w\n"
    ended = stub.ended()
    assert ended["asked"] == ALL[1:]
    assert Path(ended["run"]).parent == stub.temporary
    assert not Path(ended["run"]).exists()


def test_a_running_daemon_is_used(daemon: FakeServer) -> None:
    assert at(daemon, *WEB, "true")[0] == 0
    assert daemon.asked == ALL


def test_a_socket_that_is_given_is_meant(stub: Stub) -> None:
    status, out, err = done(start(["--socket", "/nowhere", *WEB, "echo"], stub.command()))
    assert (status, out) == (3, "")
    assert "no daemon answers at /nowhere" in err


@pytest.mark.parametrize(("fail", "status"), [(6, 6), (2, 1), (1, 1)])
def test_a_daemon_that_does_not_start_says_why(stub: Stub, fail: int, status: int) -> None:
    command = stub.command("--fail", str(fail))
    assert done(start([*WEB, "echo"], command)) == (
        status,
        "",
        "hostports: no daemon could be started: the firewall is broken\nhostports: a hint\n",
    )


def test_a_daemon_that_dies_meanwhile_does_not_change_the_commands_status(stub: Stub) -> None:
    pid_file = stub.temporary / "pid"
    kill = ["sh", "-c", f"kill -KILL $(cat {pid_file}); exit 5"]
    status, _, err = done(start([*WEB, *kill], stub.command("--pid-file", str(pid_file))))
    assert status == 5
    assert err.count("hostports: not taken down: ") == 2  # the endpoint and the network
    assert "hostports: the private daemon ended with status -9: the last words\n" in err
    assert list(stub.temporary.iterdir()) == [pid_file]


def test_the_command_is_in_a_namespace_of_its_own_and_the_endpoint_is_it(
    daemon: FakeServer,
) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    status, out, _ = at(daemon, *WEB, "sh", "-c", "readlink /proc/self/ns/net; echo $$")
    its, pid = out.split()
    assert (status, its != str(ours)) == (0, True)
    added = daemon.requests[ALL.index("POST /v1/networks/default/endpoints")]
    assert added.body == {"name": "web", "pid": int(pid)}


def test_what_is_published_is_what_was_asked_for(daemon: FakeServer) -> None:
    words = "--network lab --name web -p 8080:80 -p 53/udp --mode relay --allow-from 10.0.0.0/8"
    words += " --wait-address 2.5"
    daemon.on("POST /v1/networks/lab/endpoints", answer({}, 201))
    assert at(daemon, "run", *words.split(), "--", "true")[0] == 0
    published = daemon.requests[daemon.asked.index("POST /v1/endpoints/web/ports")]
    assert published.body == {
        "specs": ["8080:80", "53/udp"],
        "mode": "relay",
        "allow_from": ["10.0.0.0/8"],
        "proxy_protocol": None,
        "wait_address": 2.5,
    }
    assert "POST /v1/networks" not in daemon.asked  # only the default network is made


def test_without_ports_the_command_just_runs(daemon: FakeServer) -> None:
    assert at(daemon, "run", "--name", "web", "true") == (0, "", "")
    assert "POST /v1/endpoints/web/ports" not in daemon.asked


def test_the_endpoint_is_named_after_the_process_unless_it_has_a_name(daemon: FakeServer) -> None:
    process = start(["run", "true"], socket=str(daemon.path))
    done(process)
    assert daemon.asked[-2] == f"DELETE /v1/endpoints/run-{process.pid}"


def test_for_programs_the_bindings_are_json_on_standard_error(daemon: FakeServer) -> None:
    status, out, err = at(daemon, "--json", *WEB, "echo", "--json")
    assert (status, out) == (0, "--json\n")
    assert json.loads(err)["bindings"] == [IPV4]


def test_the_command_runs_though_nobody_reads_the_bindings(daemon: FakeServer) -> None:
    unread, closed = os.pipe()
    os.close(unread)
    words = [sys.executable, "-m", "hostports", "--socket", str(daemon.path), *WEB, "echo", "ran"]
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=closed, check=False, text=True)
    os.close(closed)
    assert (ran.returncode, ran.stdout) == (0, "ran\n")
    assert daemon.asked == ALL


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--", "echo", "-p", "80"], "-p 80\n"),
        (["echo", "-n", "x"], "x"),
        (["--", "echo", "--", "x"], "-- x\n"),
        (["echo", "x", "--", "y"], "x -- y\n"),
        (["-p", "80", "echo", "-p", "80"], "-p 80\n"),
    ],
)
def test_the_commands_own_words_stay_its_own(
    daemon: FakeServer, words: list[str], shown: str
) -> None:
    status, out, _ = at(daemon, "run", "--name", "web", *words)
    assert (status, out) == (0, shown)


@pytest.mark.parametrize(
    ("cmd", "status", "said"),
    [
        (["sh", "-c", "exit 42"], 42, ""),
        (["sh", "-c", "kill -KILL $$"], 137, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["no-such-command"], 127, "hostports: no-such-command: no such file or directory\n"),
        (["/no/such"], 127, "hostports: /no/such: no such file or directory\n"),
        ([""], 127, "hostports: : no such file or directory\n"),
        (["/etc/passwd"], 126, "hostports: /etc/passwd: permission denied\n"),
        (["/"], 126, "hostports: /: permission denied\n"),
    ],
)
def test_the_status_is_the_commands_as_a_shell_has_it(
    daemon: FakeServer, cmd: list[str], status: int, said: str
) -> None:
    assert at(daemon, "run", "--name", "web", "--", *cmd) == (status, "", said)
    assert daemon.asked[-2:] == ALL[-2:]


def test_the_command_has_our_input_and_nothing_of_ours_besides(daemon: FakeServer) -> None:
    """Not our descriptors, and not the signals that Python ignores."""
    look = ["sh", "-c", "cat; ls /proc/self/fd; grep Sig[BI] /proc/self/status"]
    outside = subprocess.run(look, input="hi\n", capture_output=True, text=True, check=True)
    assert at(daemon, *WEB, *look, stdin="hi\n")[1] == outside.stdout


def test_the_command_has_our_terminal(daemon: FakeServer) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hostports", "--socket", str(daemon.path), *WEB, "tty"],
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert out.decode().strip() == os.ttyname(its)
    os.close(ours)
    os.close(its)


@pytest.mark.parametrize(
    ("request_line", "reply", "status", "undone"),
    [
        ("POST /v1/networks", refusal(507, "no_port_free"), 4, []),
        (
            "POST /v1/networks/default/endpoints",
            refusal(409, "conflict"),
            4,
            ["DELETE /v1/networks/default"],
        ),
        ("POST /v1/endpoints/web/ports", refusal(409, "conflict"), 4, ALL[-2:]),
        ("POST /v1/endpoints/web/ports", Reply([b"?\r\n"]), 1, ALL[-2:]),
    ],
)
def test_where_a_step_fails_only_those_before_are_undone_and_nothing_runs(
    daemon: FakeServer, request_line: str, reply: Reply, status: int, undone: list[str]
) -> None:
    """An endpoint of the same name that somebody else has made stays."""
    daemon.on(request_line, reply)
    found, out, err = at(daemon, *WEB, "echo", "ran")
    assert (found, out) == (status, "")
    assert err.count("\n") == 1
    assert [line for line in daemon.asked if line.startswith("DELETE")] == undone


def test_a_network_that_is_there_or_comes_meanwhile_is_not_ours_to_remove(
    daemon: FakeServer,
) -> None:
    missing = refusal(404, "not_found")
    daemon.on("POST /v1/networks", refusal(409, "conflict"))
    for replies in ([answer(NETWORK)], [missing, answer(NETWORK)]):
        daemon.on("GET /v1/networks/default", *replies)
        assert at(daemon, *WEB, "true")[0] == 0
    assert "DELETE /v1/networks/default" not in daemon.asked
    daemon.on("GET /v1/networks/default", missing)
    assert at(daemon, *WEB, "true")[0] == 4  # it's the bridge's name that is taken


def test_what_others_have_removed_or_use_is_no_complaint(daemon: FakeServer) -> None:
    daemon.on("DELETE /v1/endpoints/web", refusal(404, "not_found"))
    daemon.on("DELETE /v1/networks/default", refusal(409, "conflict"))
    assert at(daemon, "run", "--name", "web", "true") == (0, "", "")


def test_what_can_not_be_taken_down_is_a_complaint_and_the_rest_goes(daemon: FakeServer) -> None:
    daemon.on("DELETE /v1/endpoints/web", refusal(500, "failed", "nft is gone", ""))
    status, _, err = at(daemon, "run", "--name", "web", "--", "sh", "-c", "exit 3")
    assert (status, err) == (3, "hostports: not taken down: nft is gone\n")
    assert daemon.asked[-1] == ALL[-1]


def pending(pid: int) -> bool:
    """Whether a process has yet to take notice of a signal (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [line.split()[1] for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(mask, 16) for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_supervisor_sends_reaches_the_command(
    daemon: FakeServer, number: signal.Signals
) -> None:
    trap = f"trap 'exit 9' {number.name[3:]}; echo begun; while :; do sleep 0.05; done"
    process = start([*WEB, "sh", "-c", trap], socket=str(daemon.path))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert done(process)[0] == 9
    assert daemon.asked == ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_what_the_terminal_sends_is_the_commands_to_answer(
    daemon: FakeServer, number: signal.Signals
) -> None:
    trap = f"trap 'exit 9' {number.name[3:]}; echo begun; while :; do sleep 0.05; done"
    process = start([*WEB, "sh", "-c", trap], socket=str(daemon.path))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, number)
    assert done(process)[0] == 9
    assert daemon.asked == ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("during", [ALL[2], ALL[3], ALL[4]])
def test_a_signal_before_the_command_runs_takes_everything_down(
    daemon: FakeServer, number: signal.Signals, during: str
) -> None:
    gate = Event()
    daemon.on(during, Reply(answer({"bindings": []}, 201).pieces, gate=gate))
    process = start([*WEB, "echo", "ran"], socket=str(daemon.path))
    eventually(lambda: during in daemon.asked, during)
    os.killpg(process.pid, number)
    eventually(lambda: not pending(process.pid), f"{number.name} delivered")
    gate.set()
    assert done(process) == (128 + number, "", "")
    assert [line for line in daemon.asked if line.startswith("DELETE")] == {
        ALL[2]: [ALL[6]],
        ALL[3]: [ALL[5], ALL[6]],
        ALL[4]: [ALL[5], ALL[6]],
    }[during]


def test_a_second_signal_ends_a_wait_for_a_daemon_that_hangs(daemon: FakeServer) -> None:
    daemon.on(ALL[3], Reply([], held=True))
    process = start([*WEB, "echo", "ran"], socket=str(daemon.path))
    eventually(lambda: ALL[3] in daemon.asked, ALL[3])
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    status, out, _ = done(process)
    assert (status - 128 in (signal.SIGINT, signal.SIGTERM), out) == (True, "")


def test_a_private_daemon_does_not_outlive_a_killed_command(stub: Stub) -> None:
    """It takes everything down when its parent is gone, whatever that died of."""
    process = start([*WEB, "sh", "-c", "echo begun; sleep 100"], stub.command())
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    os.killpg(process.pid, signal.SIGKILL)
    done(process)
    eventually(stub.has_ended, "the daemon's end")
    assert stub.ended()["asked"] == ALL[1:5]


def test_the_command_does_not_outlive_a_killed_run(daemon: FakeServer) -> None:
    """Nobody could reach it any more, nor it anybody."""
    process = start([*WEB, "sh", "-c", "echo $$; exec sleep 30"], socket=str(daemon.path))
    assert process.stdout is not None
    command = int(process.stdout.readline())
    process.kill()
    try:
        eventually(lambda: not Path(f"/proc/{command}").exists(), "the command's end")
    finally:
        done(process)


def test_the_private_daemon_hears_nothing_of_the_terminal(stub: Stub) -> None:
    process = start([*WEB, "sh", "-c", "trap '' INT; echo begun; read x"], stub.command())
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    assert done(process, "x\n")[0] == 0
    assert stub.ended()["asked"] == ALL[1:]


def test_who_may_make_no_namespace_is_told(daemon: FakeServer) -> None:
    """CAP_SYS_ADMIN is what it takes."""
    words = [sys.executable, "-m", "hostports", "--socket", str(daemon.path), *WEB, "echo"]
    left = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", *words],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    assert (left.returncode, left.stdout) == (6, "")
    assert left.stderr.startswith("hostports: a network namespace can't be made: ")

"""The units in systemd/ under a systemd of its own, in a container of systemd-nspawn's.

`make soak` runs it: the container's Debian takes a minute to make.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy, rmtree
from typing import Final

import pytest

from tests.e2e.guests import SYSTEMD_LIBRARIES, nspawn, running
from tests.netns.namespaces import namespace

PROJECT: Final = Path(__file__).parents[2]
#: A Debian with systemd, Python, nftables and hostports; `make soak` makes it.
DEBIAN: Final = PROJECT / ".venv/debian"
#: Asks a port for a page, on a connection that is there already if one is given.
CLIENT: Final = """
import socket, subprocess, sys
def asked(client):
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    return client.recv(12).decode()
def connected():
    return socket.create_connection(("127.0.0.1", 8080), 10)
early = connected()
subprocess.run(sys.argv[1:], check=True)
print(asked(early), asked(connected()))
"""
Inside = Callable[..., str]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Runs commands in a container whose first process is systemd, with a port published."""
    with booted(tmp_path_factory.mktemp("systemd")) as run:
        run("systemctl", "start", "hostports.socket")
        run("hostports", "network", "create", "lab")
        run("ip", "netns", "add", "web")
        run("hostports", "endpoint", "add", "lab", "web", "--netns", "web")
        run("hostports", "publish", "web", "8080:80")
        serve = ["--", "ip", "netns", "exec", "web", "python3", "-m", "http.server", "80"]
        run("systemd-run", "--quiet", "--unit=web", *serve)
        run("sh", "-c", "until ip netns exec web ss -Hltn | grep -q :80; do sleep 0.1; done")
        yield run


@contextmanager
def booted(folder: Path) -> Iterator[Inside]:
    # What an earlier run has left would come back.
    rmtree(DEBIAN / "var/lib/hostports", ignore_errors=True)
    (DEBIAN / "etc/default/hostports").unlink(missing_ok=True)
    for unit in (PROJECT / "systemd").iterdir():
        copy(unit, DEBIAN / "etc/systemd/system")
    # A host forbids its own root no system call.
    host_like = ("--private-network", "--capability=all", "--system-call-filter=pidfd_getfd")
    command = nspawn("-D", str(DEBIAN), *host_like, "--boot")
    with (
        namespace() as host,
        running(host, folder, command, SYSTEMD_LIBRARIES, until=b"login:") as process,
    ):
        # unshare and sh have become nspawn, whose child is the container's first process.
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

        def run(*command: str) -> str:
            done = subprocess.run(
                ["nsenter", "-t", child, "-a", *command],  # noqa: S607 - of util-linux
                capture_output=True,
                text=True,
                env={"PATH": path, "LANG": "C.UTF-8"},
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            return done.stdout

        yield run


def test_the_first_request_starts_the_daemon(inside: Inside) -> None:
    assert inside("systemctl", "is-active", "hostports.service") == "active\n"
    assert "8080" in inside("hostports", "ls")


@pytest.mark.parametrize("how", ["restart", "reload", "stop"])
def test_no_connection_notices(inside: Inside, how: str) -> None:
    command = ["systemctl", how, "hostports.service"]
    said = inside("python3", "-c", CLIENT, *command)
    assert said == "HTTP/1.0 200 HTTP/1.0 200\n"
    assert "8080" in inside("hostports", "ls")


def test_none_notices_that_the_relays_socket_was_lost(inside: Inside) -> None:
    """The daemon has no right to end another user's process."""
    lose = "systemctl stop hostports; rm /run/hostports/relay.sock; systemctl start hostports"
    said = inside("python3", "-c", CLIENT, "sh", "-ec", lose)
    assert said == "HTTP/1.0 200 HTTP/1.0 200\n"
    assert "8080" in inside("hostports", "ls")


def test_a_daemon_that_was_killed_comes_back_and_no_connection_notices(inside: Inside) -> None:
    before = inside("systemctl", "show", "-P", "MainPID", "hostports")
    inside("systemctl", "start", "hostports")
    kill = ["systemctl", "kill", "-s", "KILL", "--kill-whom=main", "hostports"]
    assert inside("python3", "-c", CLIENT, *kill) == "HTTP/1.0 200 HTTP/1.0 200\n"
    inside("sh", "-c", "until systemctl -q is-active hostports; do sleep 0.1; done")
    assert inside("systemctl", "show", "-P", "MainPID", "hostports") != before
    assert "8080" in inside("hostports", "ls")


def test_the_relay_has_no_rights(inside: Inside) -> None:
    group = "/sys/fs/cgroup/system.slice/hostports.service/cgroup.procs"
    daemon = inside("systemctl", "show", "-P", "MainPID", "hostports").strip()
    (relay,) = set(inside("cat", group).split()) - {daemon}
    status = inside("cat", f"/proc/{relay}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] == "65534"
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_the_last_stop_leaves_no_rule_with_down_on_exit(inside: Inside) -> None:
    inside("sh", "-c", "echo HOSTPORTS_FLAGS=--down-on-exit > /etc/default/hostports")
    inside("systemctl", "restart", "hostports.service")
    inside("systemctl", "stop", "hostports.socket", "hostports.service")
    assert "hostports" not in inside("nft", "list", "ruleset")
    inside("rm", "/etc/default/hostports")

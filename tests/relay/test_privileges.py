"""A relay serves strangers, so it may do next to nothing, and can't get its rights back."""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Any

import pytest

from hostports.relay.client import RelayClient
from tests.relay.bare import started
from tests.relay.lab import Lab
from tests.relay.proc import Process
from tests.relay.relays import RunningRelay
from tests.relay.waiting import PATIENCE_S

CAPABILITIES = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
NO_CAPABILITY = dict.fromkeys(CAPABILITIES, 0)
NOBODY = 65534


def capabilities(process: Process) -> dict[str, int]:
    """What it may do, or could come to do, in bits."""
    return {name: int(process.status(name)[0], 16) for name in CAPABILITIES}


def open_files_limit(process: Process) -> tuple[str, str]:
    """How many files it may open, and how many it may allow itself."""
    lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    return soft, hard


@contextmanager
def serving_process(lab: Lab, path: Path, *options: str, **how: Any) -> Iterator[Process]:  # noqa: ANN401 - what Popen takes
    """A relay that was started in some way; it must be able to serve."""
    with started(lab.host, path, *options, **how) as process, RelayClient(path) as control:
        assert control.held() == []
        yield Process(process.pid)
        control.stop()
        assert process.wait(PATIENCE_S) == 0


def test_a_relay_is_nobody_and_not_root(relay: RunningRelay) -> None:
    assert relay.process.status("Uid") == [str(NOBODY)] * 4
    assert relay.process.status("Gid") == [str(pwd.getpwnam("nobody").pw_gid)] * 4


def test_a_relay_has_no_capability_and_no_way_to_get_one(relay: RunningRelay) -> None:
    assert capabilities(relay.process) == NO_CAPABILITY
    assert relay.process.status("NoNewPrivs") == ["1"]


def hidden(process: Process) -> bool:
    """Whether others of its user may not look into it: then its files in /proc are root's."""
    return Path(f"/proc/{process.pid}/environ").stat().st_uid == 0


def test_other_processes_of_nobody_may_not_look_into_a_relay(relay: RunningRelay) -> None:
    assert hidden(relay.process)


def test_a_relay_keeps_none_of_its_starters_groups(lab: Lab, control_path: Path) -> None:
    with serving_process(lab, control_path, extra_groups=[0, 1, 2]) as process:
        assert process.status("Groups") == []


def test_a_relay_may_open_as_many_files_as_it_can_be_allowed(lab: Lab, control_path: Path) -> None:
    with serving_process(lab, control_path, prefix=["prlimit", "--nofile=100:2000"]) as process:
        assert open_files_limit(process) == ("2000", "2000")


def test_a_relay_becomes_whom_it_is_told_to(lab: Lab, control_path: Path) -> None:
    with serving_process(lab, control_path, "--user=daemon") as process:
        assert process.status("Uid") == [str(pwd.getpwnam("daemon").pw_uid)] * 4
        assert process.status("Gid") == [str(pwd.getpwnam("daemon").pw_gid)] * 4
        assert capabilities(process) == NO_CAPABILITY


def test_a_relay_that_somebody_else_than_root_starts_stays_that_user(
    lab: Lab, control_path: Path
) -> None:
    """It has no capability any more, though it may not forbid them to programs that it starts."""
    daemon = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
    # One that lets it find Python even below /root.
    able = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    with serving_process(lab, control_path, prefix=[*daemon, *able]) as process:
        assert process.status("Uid") == [str(pwd.getpwnam("daemon").pw_uid)] * 4
        assert {**capabilities(process), "CapBnd": 0} == NO_CAPABILITY
        assert process.status("NoNewPrivs") == ["1"]
        assert hidden(process)


def test_a_relay_in_a_user_namespace_that_has_no_nobody_stays_its_user(
    lab: Lab, control_path: Path
) -> None:
    """As within RootlessKit: root there is an ordinary user of the host, or of us."""
    unshare = ["unshare", "--user", "--map-root-user"]
    with serving_process(lab, control_path, prefix=unshare) as process:
        assert process.status("Uid") == [str(os.getuid())] * 4
        assert capabilities(process) == NO_CAPABILITY
        assert process.status("NoNewPrivs") == ["1"]


def last_words(lab: Lab, path: Path, *options: str, **how: Any) -> tuple[int, str]:  # noqa: ANN401 - what Popen takes
    """The exit status of a relay that can't be started, and what it says."""
    with started(lab.host, path, *options, stderr=PIPE, text=True, **how) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
        return process.returncode, str(said)


def test_a_user_who_does_not_exist_is_named_in_one_line(lab: Lab, control_path: Path) -> None:
    status, said = last_words(lab, control_path, "--user=no-such-user")
    assert status == 2
    assert said == (
        "hostports.relay: there is no user 'no-such-user' to become; "
        "add it, or name another one with --user\n"
    )


@pytest.mark.parametrize("option", ["--connections=many", "--no-such-option"])
def test_an_unusable_option_is_named(lab: Lab, control_path: Path, option: str) -> None:
    status, said = last_words(lab, control_path, option)
    assert status == 2
    assert option.strip("-").partition("=")[0] in said
    assert said.count("\n") == 1


def test_a_relay_that_is_started_without_a_control_socket_says_so() -> None:
    command = [sys.executable, "-m", "hostports.relay"]
    done = run(command, stdin=DEVNULL, stderr=PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hostports.relay: standard input is no socket; ")
    assert done.stderr.count("\n") == 1

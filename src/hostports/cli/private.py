"""A daemon of one's own, for as long as one command runs.

``python -m hostports.cli.private daemon ...`` is that daemon.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Final

from hostports.cli.main import main as live
from hostports.cli.signals import end_with_parent
from hostports.errors import HostportsError, NotPermitted

#: Who takes this long to take everything down hangs.
_PATIENCE_S: Final = 60.0
#: Lines of the daemon's log that are shown where it doesn't start.
_LINES_SHOWN: Final = 20
#: Its exit status where it lacks a right.
_NOT_PERMITTED: Final = 6
#: Its word for the one that keeps it from starting, which may be a private one, too.
_OTHER: Final = "another daemon"
#: The flag that names its directory.
_STATE: Final = "--state"
#: What systemd says is said to us, not to a daemon of ours.
_OF_SYSTEMD: Final = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")


@contextmanager
def private_daemon(command: Sequence[str], complain: Callable[[str], None]) -> Iterator[str]:
    """Run a daemon in a directory of its own, where its socket is.

    Raises `HostportsError` with what it wrote if it doesn't start; what goes wrong at its end is a
    complaint.
    """
    with TemporaryDirectory(prefix="hostports-run-") as directory:
        log = Path(directory) / "daemon.log"
        with _started(command, directory, log) as daemon:
            ready = False
            try:
                _await_ready(daemon, log)
                ready = True
                yield f"{directory}/api.sock"
            finally:
                failed = _stop(daemon)
                if ready and failed:
                    complain(f"the private daemon {failed}: {_last_line(log)}")
                    _take_down(command, directory, log, complain)


def _started(command: Sequence[str], directory: str, log: Path) -> "Popen[str]":
    ours = os.getpid()

    def end_with_us() -> None:
        end_with_parent()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until it can answer
        if os.getppid() != ours:
            os.kill(os.getpid(), signal.SIGTERM)

    with log.open("w") as errors:
        return Popen(  # noqa: S603 - our own daemon
            [*command, _STATE, directory, "--run", directory, "--down-on-exit"],
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=errors,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD},
            start_new_session=True,  # Ctrl-C is the command's
            preexec_fn=end_with_us,  # noqa: PLW1509 - there are no threads yet
        )


def _take_down(
    command: Sequence[str], directory: str, log: Path, complain: Callable[[str], None]
) -> None:
    """Let another daemon bring back what one that was killed has left, and take it down."""
    with _started(command, directory, log) as another:
        try:
            _await_ready(another, log)
        except HostportsError as error:
            complain(str(error))
        if failed := _stop(another):
            complain(f"what it has left can't be taken down: {_last_line(log)} ({failed})")


def _await_ready(daemon: "Popen[str]", log: Path) -> None:
    if any(line.strip() == "ready" for line in daemon.stdout or ()):
        return
    status = daemon.wait()
    kind = NotPermitted if status == _NOT_PERMITTED else HostportsError
    said = _last_line(log) or f"status {status}"
    hint = "for several `hostports run`, start `hostports daemon` first" if _OTHER in said else ""
    error = kind(f"no daemon could be started: {said}", hint)
    for line in _lines(log)[:-1]:
        error.add_note(line)
    raise error


def _stop(daemon: "Popen[str]") -> str:
    """Let it take everything down; what went wrong, if something did."""
    daemon.terminate()
    try:
        status = daemon.wait(_PATIENCE_S)
    except TimeoutExpired:
        daemon.kill()
        return f"has not stopped in {_PATIENCE_S:g} s"
    return f"ended with status {status}" if status else ""


def _lines(log: Path) -> list[str]:
    """What it wrote last; a daemon that ended well has removed it."""
    return log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:] if log.exists() else []


def _last_line(log: Path) -> str:
    return "".join(_lines(log)[-1:]).removeprefix("hostports: ")


def main() -> int:
    """Be such a daemon, and remove its directory if all is taken down; the exit status.

    Whoever started it can't, if that was killed. Elsewhere the directory says what is left.
    """
    words = sys.argv[1:]
    signal.signal(signal.SIGTERM, _end)  # until the daemon has its own answer
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        status = live(words)
    except SystemExit:
        status = 0
    if not status and _STATE in words:
        rmtree(words[words.index(_STATE) + 1])
    return status


def _end(_number: int, _frame: object) -> None:
    raise SystemExit  # nothing has been made yet


if __name__ == "__main__":
    sys.exit(main())

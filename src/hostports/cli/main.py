"""The way in: parse, do, and make an exit status of whatever happens."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from hostports.cli.exits import status_of
from hostports.cli.output import Console
from hostports.cli.parser import build_parser
from hostports.cli.session import PRIVATE_DAEMON, PatientClient, Session
from hostports.client.errors import DaemonSilent, DaemonUnreachable
from hostports.errors import HostportsError

_NAME_SOCKET: Final = "name its socket with --socket"
#: As a shell says of what SIGINT ended.
_INTERRUPTED: Final = 130


def main(words: Sequence[str] | None = None, private_daemon: Sequence[str] = PRIVATE_DAEMON) -> int:
    """Run a command line, the process's own if none is given; the exit status.

    `private_daemon` is what `run` starts where no daemon is.
    """
    words = sys.argv[1:] if words is None else list(words)
    _prepare_streams()
    console = Console()
    status = 0
    try:
        status = _status(words, console, private_daemon)
        console.flush()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:  # whoever read it has seen enough
        _give_up_output()
    except OSError as error:
        _give_up_output()
        console.fail(HostportsError((error.strerror or str(error)).lower()))
        status = 1
    return status


def _status(words: Sequence[str], console: Console, private_daemon: Sequence[str]) -> int:
    try:
        return _done(words, console, private_daemon)
    except HostportsError as error:
        console.flush()  # what is there of an answer comes before the error
        if isinstance(error, DaemonUnreachable):
            error.offer(_NAME_SOCKET if isinstance(error, DaemonSilent) else _other_ways())
        console.fail(error)
        return status_of(error)
    except SystemExit as end:  # argparse has shown a help text
        return int(end.code or 0)


def _other_ways() -> str:
    """How another daemon is asked: one of `hostports run` has its socket somewhere else."""
    from hostports.daemon.sole import serving_here  # noqa: PLC0415 - only an error needs it

    there = serving_here()
    return f"ask the one that is there with --socket {there}" if there else _NAME_SOCKET


def _done(words: Sequence[str], console: Console, private_daemon: Sequence[str]) -> int:
    own = words[: words.index("--")] if "--" in words else words
    console.json = "--json" in own  # for errors of what follows
    args = build_parser(words).parse_args(words)
    console.json = getattr(args, "json", False)
    module, _, function = args.home.partition(":")
    command = getattr(import_module(f"hostports.cli.{module}"), function)
    client = PatientClient(console, getattr(args, "socket", None))
    return int(command(Session(args, client, console, private_daemon)))


def _prepare_streams() -> None:
    """A closed stream takes everything; one that can't spell a character escapes it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - it stays open; pathlib is slow to import
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Let the interpreter's last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""The way in: a subcommand, standard input, and standard output."""

import sys
from collections.abc import Sequence
from json import dumps
from typing import BinaryIO, Final, TextIO

from hostports import __version__
from hostports.client.errors import DaemonUnreachable
from hostports.client.http import Json
from hostports.client.sync import PATIENCE_S, Client
from hostports.errors import HostportsError, UnusableValue, without_waiting
from hostports.netavark import verbs
from hostports.netavark.request import Container, decoded

_HELP: Final = """\
hostports-netavark: a network driver for Podman, whose netavark calls it.
How to set it up: docs/netavark.md
"""


def main() -> int:
    """Do what this process was started for; its exit status."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.stdout.write(_HELP)
        return 0
    return run(sys.argv[1:], sys.stdin.buffer, sys.stdout, Client(patience_s=PATIENCE_S))


def run(words: Sequence[str], given: BinaryIO, out: TextIO, client: Client) -> int:
    """One call: the answer, if there is one, or the error goes to `out`; 0 or 1."""
    try:
        answer, failed = _answer(list(words), given, client), 0
    except HostportsError as error:
        answer, failed = {"error": _told(error)}, 1
    if answer is not None:
        print(dumps(answer), file=out)
    return failed


def _told(error: HostportsError) -> str:
    if isinstance(error, DaemonUnreachable):
        error.offer("name its socket by $HOSTPORTS_SOCKET where Podman runs")
    error.hint = without_waiting(error.hint)
    return str(error)


def _answer(words: list[str], given: BinaryIO, client: Client) -> Json | None:
    match words:
        case ["info"]:
            return {"version": __version__, "api_version": "1.0.0"}
        case ["create"]:
            return verbs.create(client, decoded(given.read()))
        case ["setup", netns]:
            return verbs.setup(client, netns, Container(decoded(given.read())))
        case ["teardown", _]:
            verbs.teardown(client, Container(decoded(given.read())))
            return None
    raise UnusableValue(
        " ".join(words),
        "there are create, setup NETNS, teardown NETNS and info",
        "netavark calls it so; see docs/netavark.md",
    )

"""What a command works with."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Final, NamedTuple

from hostports.cli.output import Console
from hostports.client.http import Json
from hostports.client.sync import Client

#: How `run` starts a daemon of its own; with -P nothing is imported from the directory it is in.
PRIVATE_DAEMON: Final = (sys.executable, "-P", "-m", "hostports.cli.private", "daemon")


class PatientClient(Client):
    """A client whose user sees at a terminal that the daemon is waited for, once it takes long."""

    def __init__(self, console: Console, socket: str | os.PathLike[str] | None = None) -> None:
        super().__init__(socket)
        self._console = console

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        with self._console.waiting():
            return super()._ask(method, path, body)


class Session(NamedTuple):
    """What was asked for, who answers, and where to show it."""

    args: Namespace
    client: Client
    console: Console
    private_daemon: Sequence[str] = PRIVATE_DAEMON

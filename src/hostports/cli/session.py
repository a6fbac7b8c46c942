"""What a command works with."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Final, NamedTuple

from hostports.cli.output import Console
from hostports.client.sync import Client

#: How `run` starts a daemon of its own; with -P nothing is imported from the directory it is in.
PRIVATE_DAEMON: Final = (sys.executable, "-P", "-m", "hostports", "daemon")


class Session(NamedTuple):
    """What was asked for, who answers, and where to show it."""

    args: Namespace
    client: Client
    console: Console
    private_daemon: Sequence[str] = PRIVATE_DAEMON

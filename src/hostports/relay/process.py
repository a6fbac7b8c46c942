"""The relay process: its loop, what it holds, and the control socket that it is started with."""

import gc
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, NoReturn

from hostports.errors import quoted
from hostports.model.relay import RelaySettings
from hostports.privileges import drop_privileges, raise_descriptor_limit
from hostports.relay.calls import kernel_calls
from hostports.relay.control import Control
from hostports.relay.holdings import Holdings
from hostports.relay.log import Log
from hostports.relay.poller import Poller
from hostports.relay.streams import Streams
from hostports.relay.udp import Datagrams

_STDIN: Final = 0
#: The exit status for what can't be used.
_UNUSABLE: Final = 2


def main() -> None:
    """Serve until told to stop; standard input is the listening control socket (inetd's way)."""
    user, settings = _options(sys.argv[1:])
    raise_descriptor_limit()
    control = _control_socket()
    os.chdir("/")
    try:
        drop_privileges(user)
    except KeyError:
        _fail(
            f"there is no user {quoted(user)} to become",
            "add it, or name another one with --user",
        )
    serve(control, settings)


def serve(control: socket.socket, settings: RelaySettings) -> None:
    """Serve until told to stop."""
    # Nothing here refers to itself for long, and a collection would stop all traffic.
    gc.disable()
    poller = Poller()
    log = Log(poller)
    streams = Streams(poller, kernel_calls(), log, settings)
    holdings = Holdings(poller, streams, Datagrams(poller, log, settings))
    Control(poller, log, control, holdings)
    poller.run()
    holdings.close()


def _control_socket() -> socket.socket:
    """What standard input is, and it is so no longer: once closed, nobody listens there."""
    try:
        control = socket.socket(fileno=os.dup(_STDIN))
    except OSError:
        _fail("standard input is no socket", "leave it to the daemon to start a relay")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    return control


def _fail(what: str, mend: str) -> NoReturn:
    print(f"hostports.relay: {what}; {mend}", file=sys.stderr)  # noqa: T201 - whoever starts it reads
    sys.exit(_UNUSABLE)


def _options(arguments: Sequence[str]) -> tuple[str, RelaySettings]:
    """Whom to become when started by root, and the limits: all as ``--name=value``.

    Read by hand, as argparse would stay in memory: a tenth of all that a relay takes.
    """
    given = dict(each.removeprefix("--").partition("=")[::2] for each in arguments)
    user = given.pop("user", "nobody")
    defaults = {name.replace("_", "-"): value for name, value in asdict(RelaySettings()).items()}
    for name in given.keys() - defaults:
        _fail(f"there is no option {quoted(name)}", f"use --user=…, --{'=…, --'.join(defaults)}=…")
    try:
        chosen = {name: type(defaults[name])(value) for name, value in given.items()}
    except ValueError as error:
        _fail(f"{' '.join(arguments)}: {error}", "write each as --NAME=NUMBER")
    return user, RelaySettings(**{name.replace("-", "_"): chosen[name] for name in chosen})

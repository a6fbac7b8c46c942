"""Starting a relay process that outlives whoever starts it."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from hostports.errors import RelayFailed
from hostports.model.relay import RelaySettings

#: Only its owner may connect.
_UMASK: Final = 0o177


def start_relay(
    path: Path,
    settings: RelaySettings = RelaySettings(),  # noqa: B008 - a frozen value
) -> "subprocess.Popen[bytes]":
    """Start a relay in the caller's network namespace, with its control socket at `path`.

    It can be asked at once, and what it has to say goes to our standard error. Raises `RelayFailed`
    if a relay serves there already, or none can be started.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(settings).items()]
    command = [sys.executable, "-m", "hostports.relay", *flags]
    try:
        with _listening(path) as control:
            # A session of its own: what stops the daemon, as Ctrl-C does, doesn't stop the relay.
            return subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=control.fileno(), stdout=2, start_new_session=True
            )
    except OSError as error:
        raise RelayFailed(f"no relay can be started at {path}: {error}") from error


def _listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        _refuse_if_served(path)
        before = os.umask(_UMASK)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def _refuse_if_served(path: Path) -> None:
    """Take away a socket that nobody listens on any more, as a relay that was killed leaves it."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            with suppress(FileNotFoundError):
                path.unlink()
        else:
            raise RelayFailed(f"a relay serves at {path} already", "retire or stop that one")

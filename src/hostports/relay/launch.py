"""Starting a relay process that outlives whoever starts it."""

import errno
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from hostports.errors import RelayFailed
from hostports.model.relay import RELAY_MODULE, RelaySettings
from hostports.unix import listening_at

#: Only its owner may connect.
_MODE: Final = 0o600


def start_relay(
    path: Path,
    settings: RelaySettings = RelaySettings(),  # noqa: B008 - a frozen value
) -> "subprocess.Popen[bytes]":
    """Start a relay in the caller's network namespace, with its control socket at `path`.

    It can be asked at once, and what it has to say goes to our standard error. Raises `RelayFailed`
    if a relay serves there already, or none can be started.
    """
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(settings).items()]
    # With -P nothing is imported from the directory that we are in, which may be anybody's.
    command = [sys.executable, "-P", "-m", RELAY_MODULE, *flags]
    try:
        with listening_at(path, _MODE) as control:
            # A session of its own: what stops the daemon, as Ctrl-C does, doesn't stop the relay.
            return subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=control.fileno(), stdout=2, start_new_session=True
            )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RelayFailed(
                f"a relay serves at {path} already", "retire or stop that one"
            ) from error
        raise RelayFailed(f"no relay can be started at {path}: {error}") from error

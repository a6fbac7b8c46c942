"""``hostports daemon``."""

import signal
from argparse import Namespace
from typing import Final

from hostports.cli.session import Session

#: What the parser's result holds besides the daemon's flags.
_OURS: Final = ("home", "json")


def run(do: Session) -> int:
    """Run the daemon until it is told to stop."""
    # It waits until the daemon, which takes a while to import, has a handler for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from hostports.daemon.main import run as live  # noqa: PLC0415 - clients never need it

    return live(flags(do.args))


def flags(args: Namespace) -> dict[str, object]:
    """The flags that were given, by their names with ``_``; --socket is the daemon's own here."""
    return {name: value for name, value in vars(args).items() if name not in _OURS}

"""Where the daemon's files are unless it is told otherwise: root's places, or RootlessKit's.

Inside RootlessKit we are root of files that belong to its user, and /run and /var/lib are not among
them, or are gone with it.
"""

import os
from pathlib import Path


def rootlesskit() -> Path | None:
    """The state directory of the RootlessKit that we are inside."""
    folder = os.environ.get("ROOTLESSKIT_STATE_DIR")
    return Path(folder) if folder else None


def run_folder() -> Path:
    """For sockets and locks: what ends with the host, or with RootlessKit."""
    kit = rootlesskit()
    return Path("/run/hostports") if kit is None else kit / "hostports"


def state_folder() -> Path:
    """For the record, which outlives both (XDG Base Directory Specification)."""
    if rootlesskit() is None:
        return Path("/var/lib/hostports")
    chosen = os.environ.get("XDG_DATA_HOME")
    return (Path(chosen) if chosen else Path.home() / ".local/share") / "hostports"

"""One daemon for each network namespace: two would undo each other's rules."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Final

from hostports.daemon.places import run_folder
from hostports.errors import DaemonThere, NotPermitted
from hostports.lockfile import Locked, last_locked, lock

_NAMESPACE: Final = Path("/proc/self/ns/net")
#: Who doesn't take a connection in this time is of no use.
_PATIENCE_S: Final = 1.0


@contextmanager
def claimed_namespace(served: str, locks: Path | None = None) -> Iterator[None]:
    """For the length of a block, be this network namespace's only daemon, served at a socket.

    The lock is a file called after the namespace's number, where only whom the namespace belongs to
    may write: with a lock that others could take, they could keep the daemon from starting.

    Raises `DaemonThere`, which names the other one's process and socket, or `NotPermitted`.
    """
    path = _lock_path(locks)
    descriptor = _locked(path, served)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)
        with suppress(OSError):  # others have theirs in it
            path.parent.rmdir()


def serving_here(locks: Path | None = None) -> str:
    """The socket of this network namespace's daemon; empty where we can reach none."""
    with suppress(OSError), socket(AF_UNIX) as connection:
        connection.settimeout(_PATIENCE_S)
        there = last_locked(_lock_path(locks)).note
        connection.connect(there)
        return there
    return ""


def _lock_path(locks: Path | None) -> Path:
    return (locks or run_folder()) / f"netns-{_NAMESPACE.stat().st_ino}.lock"


def _locked(path: Path, served: str) -> int:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return lock(path, served)
    except Locked as locked:
        its = f"--socket {locked.note}" if locked.note else "its --socket"
        raise DaemonThere(
            f"another daemon{locked.holder} serves this network namespace", f"use {its}, or stop it"
        ) from None
    except OSError as error:
        raise NotPermitted(f"{path} can't be made: {error.strerror}", "run as root") from error

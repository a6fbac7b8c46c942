"""One daemon for each network namespace: two would undo each other's rules."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hostports.daemon.places import run_folder
from hostports.errors import DaemonThere, NotPermitted
from hostports.lockfile import Locked, lock

_NAMESPACE: Final = Path("/proc/self/ns/net")


class Claim:
    """A locked file, called after the number of the network namespace."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def close(self) -> None:
        """Leave the namespace to others."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._descriptor)
        with suppress(OSError):  # others have theirs in it
            self._path.parent.rmdir()


def claim_namespace(locks: Path | None = None) -> Claim:
    """Be the only daemon of this network namespace.

    The locks are where only whom the namespace belongs to may write: with a lock that others could
    take, they could keep the daemon from starting.

    Raises `DaemonThere`, which names the other one's process, or `NotPermitted`.
    """
    locks = locks or run_folder()
    path = locks / f"netns-{_NAMESPACE.stat().st_ino}.lock"
    try:
        locks.mkdir(mode=0o755, parents=True, exist_ok=True)
        return Claim(path, lock(path))
    except Locked as locked:
        raise DaemonThere(
            f"another daemon{locked.holder} serves this network namespace",
            "use its --socket, or stop it; for several `hostports run`, start `hostports daemon`",
        ) from None
    except OSError as error:
        raise NotPermitted(f"{path} can't be made: {error.strerror}", "run as root") from error

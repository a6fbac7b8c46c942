"""The relay process as the daemon needs it: one that is there is kept, else one is started."""

import logging
import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hostports.errors import RelayFailed
from hostports.linux import processes, unlinked
from hostports.model.relay import RELAY_MODULE, RelayProcess, RelaySettings
from hostports.relay.client import Greeting, RelayClient
from hostports.relay.launch import start_relay
from hostports.store.sqlite import SqliteStore

log: Final = logging.getLogger("hostports")
#: Seconds until a relay that is told to end, and has nobody to ask, is killed.
_PATIENCE_S: Final = 5.0
#: Seconds for the connections of a relay that speaks another version and so is replaced.
_RETIREMENT_S: Final = 24 * 3600.0


class RelayKeeper:
    """The daemon's relay: `client` asks whichever serves at the path.

    Which one that was is recorded, as its path may be another one, or lost, when we come back.
    """

    def __init__(self, path: Path, settings: RelaySettings, store: SqliteStore) -> None:
        self.client = RelayClient(path)
        self._path = path
        self._settings = settings
        self._store = store
        self._child: subprocess.Popen[bytes] | None = None

    def attend(self) -> Sequence[socket.socket]:
        """See to it that a relay of our version serves.

        One of another version goes into retirement, with the connections that it has; its sockets
        are returned, for the new one. Raises `RelayFailed`.
        """
        lost = self._fetched(_RETIREMENT_S)
        greeting = self._greeting()
        if greeting and greeting.understood:
            self._record(greeting.pid)
            return lost
        sockets = self.client.retire(_RETIREMENT_S) if greeting else ()
        self.start()
        return (*lost, *sockets)

    def dismiss(self) -> Sequence[socket.socket]:
        """End a relay that an earlier daemon has left, of any version, and all its connections.

        Its sockets are returned, for whoever holds the ports from now on. Raises `RelayFailed`.
        """
        lost = self._fetched(0)
        if self._greeting() is None:
            return lost
        sockets = self.client.retire(0)
        self._path.unlink(missing_ok=True)
        return (*lost, *sockets)

    def start(self) -> None:
        """Start a relay where none serves. Raises `RelayFailed`."""
        self.client.close()
        if self._child is not None:
            self._child.poll()  # it has ended, and would else stay a zombie
        self._child = start_relay(self._path, self._settings)
        self._record(self._child.pid)

    def watch(self) -> int:
        """A descriptor that becomes readable when the relay ends (pidfd_open(2)).

        Raises `RelayFailed` if it has ended already.
        """
        try:
            return os.pidfd_open(self.client.hello().pid)
        except ProcessLookupError as error:
            raise RelayFailed("the relay has ended at once") from error

    def stop(self) -> None:
        """End the relay, and all connections through it. Raises `RelayFailed`."""
        self.client.stop()
        self.client.close()
        if self._child is not None:
            self._child.wait()
        self._path.unlink(missing_ok=True)

    def _record(self, pid: int) -> None:
        since = processes.started(pid)
        if since is not None:
            self._store.record_relay(RelayProcess(pid, since, str(self._path)))

    def _fetched(self, seconds: float) -> Sequence[socket.socket]:
        """The sockets of a relay of ours that is not at the path, which retires; or it is ended.

        Nobody else could take back what it serves.
        """
        known = self._store.relay()
        if known is None or not _runs(known):
            return ()
        greeting = self._greeting()
        if greeting and greeting.pid == known.pid:
            return ()
        elsewhere = Path(known.path)
        with suppress(RelayFailed), RelayClient(elsewhere) as client:
            if elsewhere != self._path and client.hello().pid == known.pid:
                sockets = client.retire(seconds)
                elsewhere.unlink(missing_ok=True)
                return sockets
        with (
            suppress(OSError, RelayFailed),
            unlinked.reached(known.pid) as path,
            RelayClient(path) as client,
        ):
            return client.retire(seconds)
        log.warning("the relay (pid %s) can't be asked at %s, and is ended", known.pid, known.path)
        try:
            processes.end(known.pid, known.started, _PATIENCE_S)
        except PermissionError as error:
            raise RelayFailed(
                f"the relay of before (pid {known.pid}) can't be asked, nor ended by us",
                f"use kill {known.pid}",
            ) from error
        return ()

    def _greeting(self) -> Greeting | None:
        """What a relay says that serves, if one does. Raises `RelayFailed` if it doesn't answer."""
        try:
            return self.client.hello()
        except RelayFailed as error:
            if isinstance(error.__cause__, TimeoutError):
                raise  # it is there, with connections, and may only be busy
            return None


def _runs(relay: RelayProcess) -> bool:
    """Whether it does, and no other process with its number.

    By its start alone it might be one of another start of the host, at the same tick.
    """
    same = processes.started(relay.pid) == relay.started
    return same and processes.runs(relay.pid, RELAY_MODULE)

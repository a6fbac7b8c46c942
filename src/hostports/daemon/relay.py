"""The relay process as the daemon needs it: one that is there is kept, else one is started."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hostports.errors import RelayFailed
from hostports.model.relay import RelaySettings
from hostports.relay.client import Greeting, RelayClient
from hostports.relay.launch import start_relay

#: Seconds for the connections of a relay that speaks another version and so is replaced.
_RETIREMENT_S: Final = 24 * 3600.0


class RelayKeeper:
    """The daemon's relay: `client` asks whichever serves at the path."""

    def __init__(self, path: Path, settings: RelaySettings) -> None:
        self.client = RelayClient(path)
        self._path = path
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None

    def attend(self) -> Sequence[socket.socket]:
        """See to it that a relay of our version serves.

        One of another version goes into retirement, with the connections that it has; its sockets
        are returned, for the new one. Raises `RelayFailed`.
        """
        greeting = self._greeting()
        if greeting and greeting.understood:
            return ()
        sockets = self.client.retire(_RETIREMENT_S) if greeting else ()
        self.start()
        return sockets

    def dismiss(self) -> Sequence[socket.socket]:
        """End a relay that an earlier daemon has left, of any version, and all its connections.

        Its sockets are returned, for whoever holds the ports from now on. Raises `RelayFailed`.
        """
        if self._greeting() is None:
            return ()
        sockets = self.client.retire(0)
        self._path.unlink(missing_ok=True)
        return sockets

    def start(self) -> None:
        """Start a relay where none serves. Raises `RelayFailed`."""
        self.client.close()
        if self._child is not None:
            self._child.poll()  # it has ended, and would else stay a zombie
        self._child = start_relay(self._path, self._settings)

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

    def _greeting(self) -> Greeting | None:
        """What a relay says that serves, if one does. Raises `RelayFailed` if it doesn't answer."""
        try:
            return self.client.hello()
        except RelayFailed as error:
            if isinstance(error.__cause__, TimeoutError):
                raise  # it is there, with connections, and may only be busy
            return None

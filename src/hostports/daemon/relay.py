"""The relay process as the daemon needs it: one that is there is kept, else one is started."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hostports.errors import RelayFailed
from hostports.model.relay import RelaySettings
from hostports.relay.client import RelayClient
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
        try:
            greeting = self.client.hello()
        except RelayFailed as error:
            if isinstance(error.__cause__, TimeoutError):
                raise  # it is there, with connections, and may only be busy
            self.start()
            return ()
        if greeting.understood:
            return ()
        sockets = self.client.retire(_RETIREMENT_S)
        self.start()
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

"""What systemd and its services tell each other (sd_notify(3), sd_listen_fds(3))."""

import os
import socket
from typing import Final

#: The first descriptor that systemd passes.
_FIRST: Final = 3


def notify(state: str) -> bool:
    """Tell systemd something, as ``READY=1``; False without systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket (unix(7))
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.sendto(state.encode(), address)
    return True


def listening_socket() -> socket.socket | None:
    """The socket that systemd listens on for us, if it does."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not int(os.environ["LISTEN_FDS"]):
        return None
    given = socket.socket(fileno=_FIRST)
    given.set_inheritable(False)
    return given

"""One daemon for each network namespace: two would undo each other's rules."""

import socket
import struct
from typing import Final

from hostports.errors import DaemonThere

#: An abstract name, which the kernel keeps for each network namespace and frees with its process.
_NAME: Final = "\0hostports"
#: struct ucred: pid, uid, gid.
_CREDENTIALS: Final = struct.Struct("iII")


def claim_namespace() -> socket.socket:
    """Be the only daemon of this network namespace for as long as the socket is open.

    Raises `DaemonThere`, which names the other one's process.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(_NAME)
        claim.listen()
    except OSError:
        claim.close()
        raise DaemonThere(
            f"another daemon ({_holder()}) serves this network namespace",
            "one is enough for all networks: use its --socket, or stop it",
        ) from None
    return claim


def _holder() -> str:
    with socket.socket(socket.AF_UNIX) as other:
        try:
            other.connect(_NAME)
            told = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return "it has just ended"
    pid, uid, _ = _CREDENTIALS.unpack(told)
    return f"pid {pid}" if uid == 0 else f"pid {pid} of user {uid}"

"""System calls on bare descriptors, where Python's own wrap each socket in an object.

A connection costs a dozen of them, so objects, parsed addresses and exceptions for EAGAIN would be
most of what it costs. Failure is a negative number here: the errno.
"""

import ctypes
import errno
import socket
import struct
from typing import Final, NamedTuple, Protocol

#: None of these calls blocks, so the interpreter's lock need not be given up for them.
_libc: Final = ctypes.PyDLL(None, use_errno=True)
_accept4: Final = _libc.accept4
_connect: Final = _libc.connect
_setsockopt: Final = _libc.setsockopt
_send: Final = _libc.send
_socket: Final = _libc.socket
_errno: Final = ctypes.get_errno

#: For a struct linger: close(2) resets the connection and forgets what is unsent (socket(7)).
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_MORE: Final = socket.MSG_MORE | socket.MSG_NOSIGNAL
_QUIET: Final = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Option(NamedTuple):
    """A socket option as setsockopt(2) takes it."""

    level: int
    name: int
    value: bytes


class Calls(Protocol):
    """What the relay asks of the kernel for streams."""

    def accept(self, listener: int) -> int:
        """The descriptor of a new connection, non-blocking; below 0 an errno."""
        ...

    def dial(self, family: int, protocol: int) -> int:
        """The descriptor of a new non-blocking stream socket; below 0 an errno."""
        ...

    def connect(self, descriptor: int, address: bytes) -> int:
        """Begin to connect to a packed socket address, or ask how that went.

        0 when connected, EINPROGRESS or EALREADY while under way, else why not.
        """
        ...

    def set_option(self, descriptor: int, level: int, name: int, value: bytes) -> None:
        """setsockopt(2); a connection that is gone already refuses, which doesn't matter."""
        ...

    def send_before_end(self, descriptor: int, start: int, count: int) -> int:
        """Send `count` bytes of memory from `start` on, to be followed by the end at once.

        Both travel in one packet. How many bytes were taken; below 0 an errno.
        """
        ...

    def end_output(self, descriptor: int) -> None:
        """Tell the peer that nothing more comes, and go on reading from it."""
        ...


class LinuxCalls:
    """The kernel's own."""

    def accept(self, listener: int) -> int:
        """accept4(2)."""
        descriptor: int = _accept4(listener, None, None, _QUIET)
        return descriptor if descriptor >= 0 else -_errno()

    def dial(self, family: int, protocol: int) -> int:
        """socket(2)."""
        descriptor: int = _socket(family, socket.SOCK_STREAM | _QUIET, protocol)
        return descriptor if descriptor >= 0 else -_errno()

    def connect(self, descriptor: int, address: bytes) -> int:
        """Connect; 0 also where that has been done."""
        if _connect(descriptor, address, len(address)) == 0:
            return 0
        refusal = _errno()
        return 0 if refusal == errno.EISCONN else refusal

    def set_option(self, descriptor: int, level: int, name: int, value: bytes) -> None:
        """setsockopt(2)."""
        _setsockopt(descriptor, level, name, value, len(value))

    def send_before_end(self, descriptor: int, start: int, count: int) -> int:
        """send(2) with MSG_MORE, which holds back the last packet until shutdown(2) or close(2)."""
        sent: int = _send(descriptor, ctypes.c_void_p(start), count, _MORE)
        return sent if sent >= 0 else -_errno()

    def end_output(self, descriptor: int) -> None:
        """shutdown(2) of the writing side."""
        _libc.shutdown(descriptor, socket.SHUT_WR)


def reset_on_close(calls: Calls, descriptor: int) -> None:
    """Let the peer see a reset instead of an end."""
    calls.set_option(descriptor, socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)

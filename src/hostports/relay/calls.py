"""System calls on bare descriptors, where Python's own wrap each socket in an object.

A connection costs a dozen of them, so objects, parsed addresses and exceptions for EAGAIN would be
most of what it costs. Failure is a negative number here: the errno.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple, Protocol, cast

#: None of these calls blocks, so the interpreter's lock need not be given up for them.
_libc: Final = ctypes.PyDLL(None, use_errno=True)
_accept4: Final = _libc.accept4
_connect: Final = _libc.connect
_setsockopt: Final = _libc.setsockopt
_send: Final = _libc.send
_socket: Final = _libc.socket
_errno: Final = ctypes.get_errno

#: Bytes of the buffer; what a read brings never outlives the turn, or is copied.
ROOM: Final = 1 << 16
_BUFFER: Final = bytearray(ROOM)
_BUFFERS: Final = [_BUFFER]
_START: Final = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(_BUFFER)))

_QUIET: Final = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Option(NamedTuple):
    """A socket option as setsockopt(2) takes it."""

    level: int
    name: int
    value: bytes


#: With a struct linger close(2) resets the connection and forgets what is unsent (socket(7)).
_AT_ONCE: Final = (Option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),)


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

    def set_options(self, descriptor: int, options: Sequence[Option]) -> None:
        """Set them; a connection that is gone already refuses, which doesn't matter."""
        ...

    def read(self, descriptor: int) -> int:
        """Read into the buffer that all share: how many bytes, 0 at the end, below 0 an errno."""
        ...

    def write(self, descriptor: int, count: int, flags: int) -> int:
        """Send so many bytes of what was read; how many were taken, below 0 an errno.

        With MSG_MORE the last packet is held back until `end_output` or close(2), to travel in one
        with the end.
        """
        ...

    def rest(self, start: int, end: int) -> bytes:
        """A copy of a part of what was read."""
        ...

    def end_output(self, descriptor: int) -> None:
        """Tell the peer that nothing more comes, and go on reading from it."""
        ...


class LinuxCalls:
    """The kernel's own, by ctypes; ``fastcalls.c`` does the same in a tenth of the time."""

    def accept(self, listener: int) -> int:
        """accept4(2)."""
        descriptor: int = _accept4(listener, None, None, _QUIET)
        return descriptor if descriptor >= 0 else -_errno()

    def dial(self, family: int, protocol: int) -> int:
        """socket(2)."""
        descriptor: int = _socket(family, socket.SOCK_STREAM | _QUIET, protocol)
        return descriptor if descriptor >= 0 else -_errno()

    def connect(self, descriptor: int, address: bytes) -> int:
        """Asked twice, as the first call never tells of an answer that came meanwhile."""
        for _ in range(2):
            if _connect(descriptor, address, len(address)) == 0:
                return 0
            refusal = _errno()
            if refusal != errno.EINPROGRESS:
                break
        return 0 if refusal == errno.EISCONN else refusal

    def set_options(self, descriptor: int, options: Sequence[Option]) -> None:
        """setsockopt(2)."""
        for level, name, value in options:
            _setsockopt(descriptor, level, name, value, len(value))

    def read(self, descriptor: int) -> int:
        """By readv(2), as Python's read makes a new object of every piece."""
        try:
            return os.readv(descriptor, _BUFFERS)
        except OSError as error:
            return -(error.errno or errno.EIO)

    def write(self, descriptor: int, count: int, flags: int) -> int:
        """send(2)."""
        sent: int = _send(descriptor, _START, count, flags | socket.MSG_NOSIGNAL)
        return sent if sent >= 0 else -_errno()

    def rest(self, start: int, end: int) -> bytes:
        """Copied, as the next read overwrites it."""
        return bytes(_BUFFER[start:end])

    def end_output(self, descriptor: int) -> None:
        """shutdown(2) of the writing side."""
        _libc.shutdown(descriptor, socket.SHUT_WR)


def kernel_calls() -> Calls:
    """The calls as they were compiled, else those by ctypes."""
    try:
        return cast("Calls", import_module("hostports.relay.fastcalls"))
    except ImportError:
        return LinuxCalls()


def reset_on_close(calls: Calls, descriptor: int) -> None:
    """Let the peer see a reset instead of an end."""
    calls.set_options(descriptor, _AT_ONCE)

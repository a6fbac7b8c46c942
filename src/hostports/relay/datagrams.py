"""Many datagrams with one system call: recvmmsg(2) and sendmmsg(2), which Python doesn't have.

An inbox is memory that the kernel fills: a table of struct mmsghdr, and for each message a payload,
a sender's address and ancillary data. An outbox sends from the very same payloads. With UDP_GRO one
message may hold many datagrams of one size, and UDP_SEGMENT sends them so (udp(7)).
"""

import ctypes
import errno
import socket
import struct
import sys
from array import array
from mmap import mmap
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_recvmmsg: Final = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_sendmmsg: Final = _libc.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_errno: Final = ctypes.get_errno

UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

#: Messages at once.
BATCH: Final = 32
#: Bytes: the longest UDP datagram, and the most that UDP_GRO joins.
_SIZE: Final = 1 << 16
#: Bytes of a struct sockaddr_in6, and of all ancillary data that we ask for.
_NAME: Final = 28
_CONTROL: Final = 96
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL

#: struct mmsghdr: name, its length, iovec, count, control, its length, flags; length.
_HEADER: Final = struct.Struct("@PIPNPNi4xI4x")
_NAME_LENGTH_AT: Final = struct.calcsize("@P")
_CONTROL_LENGTH_AT: Final = struct.calcsize("@PIPNP")
_LENGTH_AT: Final = struct.calcsize("@PIPNPNi4x")
#: struct iovec: where, how much.
_IOVEC: Final = struct.Struct("@PN")
_WORD: Final = struct.calcsize("@N")
#: struct cmsghdr: length, level, type; data follow, padded to whole words.
_CMSG: Final = struct.Struct("@Nii")
_UINT: Final = struct.Struct("@I")
_SIZE_T: Final = struct.Struct("@N")
_SEGMENT: Final = struct.Struct("@H")


def control_message(level: int, kind: int, data: bytes) -> bytes:
    """One item of ancillary data, padded (cmsg(3))."""
    padding = -len(data) % _WORD
    return _CMSG.pack(_CMSG.size + len(data), level, kind) + data + bytes(padding)


def control_messages(control: bytes) -> dict[tuple[int, int], bytes]:
    """Ancillary data by level and type."""
    found = {}
    start = 0
    while start + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, start)
        found[level, kind] = control[start + _CMSG.size : start + length]
        start += max(length + -length % _WORD, _CMSG.size)
    return found


def _address(memory: bytearray | mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def segmented(segment: int) -> bytes:
    """The ancillary data that lets the kernel cut a message into datagrams of `segment` bytes."""
    return control_message(socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(segment))


def segment_size(received: dict[tuple[int, int], bytes]) -> int:
    """Bytes of each datagram that UDP_GRO joined in a message; 0 if it is but one."""
    joined = received.get((socket.IPPROTO_UDP, UDP_GRO))
    return int.from_bytes(joined[:2], sys.byteorder) if joined else 0


class Inbox:
    """Memory for `BATCH` messages, received at once."""

    def __init__(self) -> None:
        # Pages that nothing was received in take no memory.
        self._payload = mmap(-1, BATCH * _SIZE)
        self._names = bytearray(BATCH * _NAME)
        self._controls = bytearray(BATCH * _CONTROL)
        self._iovecs = bytearray(BATCH * _IOVEC.size)
        self._headers = bytearray(BATCH * _HEADER.size)
        #: Where the payloads are.
        self.payload = _address(self._payload)
        names, controls = _address(self._names), _address(self._controls)
        iovecs = _address(self._iovecs)
        for i in range(BATCH):
            _IOVEC.pack_into(self._iovecs, i * _IOVEC.size, self.payload + i * _SIZE, _SIZE)
            name, iovec, control = (
                names + i * _NAME,
                iovecs + i * _IOVEC.size,
                controls + i * _CONTROL,
            )
            fields = (name, _NAME, iovec, 1, control, _CONTROL, 0, 0)
            _HEADER.pack_into(self._headers, i * _HEADER.size, *fields)
        self._pristine = bytes(self._headers)
        self._at = _address(self._headers)
        self._lengths = memoryview(self._headers).cast("I")[_LENGTH_AT // 4 :: _HEADER.size // 4]

    def receive(self, descriptor: int) -> int:
        """Take what waits, at most `BATCH` messages; how many there were, or below 0 an errno."""
        self._headers[:] = self._pristine
        count: int = _recvmmsg(descriptor, self._at, BATCH, _FLAGS, None)
        return count if count >= 0 else -_errno()

    def lengths(self, first: int, end: int) -> memoryview:
        """Bytes of the payloads `first` up to `end`."""
        return self._lengths[first:end]

    def sender(self, i: int) -> bytes:
        """The packed socket address that a message came from."""
        (length,) = _UINT.unpack_from(self._headers, i * _HEADER.size + _NAME_LENGTH_AT)
        return bytes(self._names[i * _NAME : i * _NAME + length])

    def control(self, i: int) -> bytes:
        """A message's ancillary data."""
        (length,) = _SIZE_T.unpack_from(self._headers, i * _HEADER.size + _CONTROL_LENGTH_AT)
        return bytes(self._controls[i * _CONTROL : i * _CONTROL + length])

    def run(self, first: int, count: int) -> int:
        """The end of the messages from `first` on that agree in sender and ancillary data."""
        name = self._names[first * _NAME : (first + 1) * _NAME]
        control = self._controls[first * _CONTROL : (first + 1) * _CONTROL]
        more = count - first
        if (
            self._names[first * _NAME : count * _NAME] == name * more
            and self._controls[first * _CONTROL : count * _CONTROL] == control * more
        ):
            return count
        end = first + 1
        while (
            end < count
            and self._names[end * _NAME : (end + 1) * _NAME] == name
            and self._controls[end * _CONTROL : (end + 1) * _CONTROL] == control
        ):
            end += 1
        return end


class Outbox:
    """Sends an inbox's messages on, to one receiver at a time."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._name = bytearray(_NAME)
        self._control = bytearray(_CONTROL)
        self._iovecs = bytearray(BATCH * _IOVEC.size)
        self._headers = bytearray(BATCH * _HEADER.size)
        self._iovecs_at, self._at = _address(self._iovecs), _address(self._headers)
        self._lengths = memoryview(self._iovecs).cast("L")[1::2]
        self._receiver = (b"", b"")
        self._lay_out(0, 0)

    def address(self, name: bytes, control: bytes) -> None:
        """Send what follows to a packed socket address, with ancillary data."""
        if (name, control) != self._receiver:
            if tuple(map(len, self._receiver)) != (len(name), len(control)):
                self._lay_out(len(name), len(control))
            self._name[: len(name)] = name
            self._control[: len(control)] = control
            self._receiver = (name, control)

    def send(self, descriptor: int, first: int, end: int) -> int:
        """Send the messages `first` up to `end`; how many bytes the kernel took.

        What it doesn't take is lost, as datagrams may be.
        """
        self._lengths[first:end] = array("L", self._inbox.lengths(first, end).tolist())
        return self._send(descriptor, first, end)

    def send_in_pieces(self, descriptor: int, i: int, segment: int) -> int:
        """Send one message as datagrams of `segment` bytes; how many bytes the kernel took."""
        where, length = self._inbox.payload + i * _SIZE, self._inbox.lengths(i, i + 1)[0]
        taken = 0
        for start in range(0, length, segment):
            piece = (where + start, min(segment, length - start))
            _IOVEC.pack_into(self._iovecs, i * _IOVEC.size, *piece)
            taken += self._send(descriptor, i, i + 1)
        _IOVEC.pack_into(self._iovecs, i * _IOVEC.size, where, 0)
        return taken

    def _send(self, descriptor: int, first: int, end: int) -> int:
        taken = 0
        refused_before = False
        while first < end:
            count = _sendmmsg(descriptor, self._at + first * _HEADER.size, end - first, _FLAGS)
            if count > 0:
                taken += sum(self._lengths[first : first + count])
                first += count
            elif _errno() == errno.ECONNREFUSED and not refused_before:
                # What an earlier datagram met is told to this one, which was not sent (udp(7)).
                refused_before = True
            elif _errno() in (errno.EAGAIN, errno.ENOBUFS):
                break
            else:
                first += 1
                refused_before = False
        return taken

    def _lay_out(self, name_length: int, control_length: int) -> None:
        name_at, control_at = _address(self._name), _address(self._control)
        for i in range(BATCH):
            payload = self._inbox.payload + i * _SIZE
            _IOVEC.pack_into(self._iovecs, i * _IOVEC.size, payload, 0)
            iovec = self._iovecs_at + i * _IOVEC.size
            fields = (name_at, name_length, iovec, 1, control_at, control_length, 0, 0)
            _HEADER.pack_into(self._headers, i * _HEADER.size, *fields)


class Sender:
    """Sends an inbox's messages on, joined ones joined where the way out allows it."""

    def __init__(self, inbox: Inbox) -> None:
        self._plain = Outbox(inbox)
        self._joined = Outbox(inbox)

    def send(  # noqa: PLR0913, PLR0917 - what, whereto and how
        self, descriptor: int, first: int, end: int, segment: int, name: bytes, control: bytes
    ) -> int:
        """Send the messages `first` up to `end`, of `segment` bytes each datagram if not 0.

        `name` and `control` are the receiver's packed socket address and ancillary data, empty for
        a connected socket. Returns how many bytes the kernel took.
        """
        self._plain.address(name, control)
        if not segment:
            return self._plain.send(descriptor, first, end)
        self._joined.address(name, control + segmented(segment))
        return sum(
            self._joined.send(descriptor, i, i + 1)
            or self._plain.send_in_pieces(descriptor, i, segment)
            for i in range(first, end)
        )

"""One way of a relayed connection: bytes from one socket to the other.

What a peer writes goes on at once, by recv and send through one buffer that all share; whoever
sends a lot for a while gets a pipe, through which the kernel moves the bytes (splice(2)). Never
more than one buffer or pipe is read ahead of the peer that is to receive it, so that backpressure
is the kernel's. Sockets are edge-triggered: a way reads until there is no more, or its target is
full.
"""

import ctypes
import os
import select
from typing import Final, Protocol

from hostports.core.relay.half_close import Way
from hostports.relay.pipes import PIPE_SIZE, Pipe
from hostports.relay.streams import Streams

#: What a connection's sockets are watched for, and those of them that a way may write to again.
INPUT: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
BOTH: Final = INPUT | select.EPOLLOUT
#: The source's end, or failure, is known to come behind what can be read; the end, and no failure.
_ENDING: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READABLE: Final = select.EPOLLIN | _ENDING
_END: Final = select.EPOLLRDHUP
_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_WRITABLE: Final = select.EPOLLOUT

#: Bytes of the buffer; what a read brings never outlives the turn, or is copied.
_SIZE: Final = 1 << 16
_BUFFER: Final = bytearray(_SIZE)
_BUFFERS: Final = [_BUFFER]
_VIEW: Final = memoryview(_BUFFER)
_START: Final = ctypes.addressof(ctypes.c_char.from_buffer(_BUFFER))
#: Reads of at least this many bytes, this many times in a row, are a bulk transfer.
_LARGE: Final = 1 << 15
_BULK: Final = 3
#: Reads in one turn, so that no connection keeps the others waiting.
_TURN: Final = 8

_MOVE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_readv: Final = os.readv
_write: Final = os.write
_splice: Final = os.splice


class Ends(Protocol):
    """The connection, as its ways need it."""

    @property
    def streams(self) -> Streams:
        """The poller and the pipes."""
        ...

    def ended(self, way: Way) -> None:
        """All that came by a way has been passed on."""
        ...

    def broken(self, way: Way) -> None:
        """One of a way's sockets failed."""
        ...


class Flow:
    """A way of a connection: `source` is read, `target` is written to."""

    __slots__ = (
        "_by_message",
        "_connection",
        "_ending",
        "_large",
        "_pipe",
        "_piped",
        "_stalled",
        "_unsent",
        "_watched_for_output",
        "done",
        "moved",
        "source",
        "target",
        "twin",
        "way",
    )

    twin: "Flow"

    def __init__(
        self, connection: Ends, way: Way, source: int, target: int, *, by_message: bool
    ) -> None:
        self.source = source
        self.target = target
        self.way = way
        #: Bytes passed on.
        self.moved = 0
        #: Whether the end has been reached and passed on, or the connection closed.
        self.done = False
        self._connection = connection
        self._by_message = by_message
        #: Events that told of the source's end.
        self._ending = 0
        self._unsent = b""
        self._pipe: Pipe | None = None
        self._piped = 0
        self._large = 0
        self._stalled = False
        self._watched_for_output = False

    def prepend(self, header: bytes) -> None:
        """Send something before the first byte of the source."""
        self._unsent = header

    def ready(self, events: int) -> None:
        """The source has something to say, or takes again what the other way has for it."""
        if events & _WRITABLE and self.twin._stalled:  # noqa: SLF001 - the same class
            self.twin.try_to_pump()
        if self.done:
            if events & _GONE:
                self._connection.broken(self.way)
        elif events & _READABLE:
            self._ending |= events & _ENDING
            if not self._stalled:
                self.try_to_pump()

    def go_on(self) -> None:
        """Take another turn."""
        if not self.done and not self._stalled:
            self.try_to_pump()

    def try_to_pump(self) -> None:
        """Pump; if a socket fails, the connection is told so."""
        try:
            self.pump()
        except OSError:
            self._connection.broken(self.way)

    def pump(self) -> None:
        """Pass on what there is; raises `OSError` if a socket fails.

        A read that doesn't fill the buffer has emptied the source, unless its end is known to wait
        behind it: an end that came along with data gives no event of its own.
        """
        if self._pipe is not None:
            self._pump_through_pipe(self._pipe)
        elif not self._unsent or self._send(self._unsent):
            self._pump_through_buffer()

    def _pump_through_buffer(self) -> None:
        source = self.source
        read_on = self._by_message or self._ending
        for _ in range(_TURN):
            try:
                count = _readv(source, _BUFFERS)
            except BlockingIOError:
                return
            if count == 0:
                self._end()
                return
            try:
                sent = self._pass_on(count)
            except BlockingIOError:
                sent = 0
            self.moved += sent
            if sent < count:
                self._stall(bytes(_VIEW[sent:count]))
                return
            if count < _LARGE:
                self._large = 0
            elif pipe := self._pipe_for_bulk():
                self._pump_through_pipe(pipe)
                return
            if count < _SIZE and not read_on:
                return
        self._connection.streams.poller.again(self)

    def release(self) -> None:
        """Give back what the way has; it is over."""
        self.done = True
        self._stalled = False
        self._unsent = b""
        self._give_pipe_back()
        del self.twin  # they name each other, and nothing looks for such circles

    def _pass_on(self, count: int) -> int:
        """Send what was read; how much of it."""
        if self._ending != _END or self._by_message:
            return _write(self.target, _BUFFER if count == _SIZE else _VIEW[:count])
        sent = self._connection.streams.calls.send_before_end(self.target, _START, count)
        if sent < 0:
            raise OSError(-sent, os.strerror(-sent))
        return sent

    def _send(self, unsent: bytes) -> bool:
        try:
            sent = _write(self.target, unsent)
        except BlockingIOError:
            sent = 0
        self.moved += sent
        if sent < len(unsent):
            self._stall(unsent[sent:])
            return False
        self._unsent = b""
        self._stalled = False
        return True

    def _stall(self, unsent: bytes = b"") -> None:
        """Wait until the target takes more."""
        self._unsent = unsent
        self._stalled = True
        if not self._watched_for_output:
            self._watched_for_output = True
            self._connection.streams.poller.change(self.target, BOTH)

    def _pipe_for_bulk(self) -> Pipe | None:
        self._large += 1
        if self._large >= _BULK:
            self._large = 0
            self._pipe = self._connection.streams.pipes.take()
        return self._pipe

    def _pump_through_pipe(self, pipe: Pipe) -> None:
        outlet, inlet = pipe
        source, target = self.source, self.target
        self._stalled = False
        for _ in range(_TURN):
            ended = waiting = False
            try:
                count = _splice(source, inlet, PIPE_SIZE, flags=_MOVE)
                ended = count == 0
                self._piped += count
            except BlockingIOError:
                waiting = True  # for the source, or for the target to empty the pipe
            if self._piped:
                try:
                    count = _splice(outlet, target, self._piped, flags=_MOVE)
                except BlockingIOError:
                    self._stall()
                    return
                self._piped -= count
                self.moved += count
            elif waiting:
                self._give_pipe_back()
                return
            if ended and not self._piped:
                self._end()
                return
        self._connection.streams.poller.again(self)

    def _give_pipe_back(self) -> None:
        if self._pipe is not None:
            self._connection.streams.pipes.give(self._pipe, empty=not self._piped)
            self._pipe = None

    def _end(self) -> None:
        self.done = True
        self._give_pipe_back()
        self._connection.ended(self.way)

"""One way of a relayed connection: bytes from one socket to the other.

What a peer writes goes on at once, by recv and send through one buffer that all share; whoever
sends a lot for a while gets a pipe, through which the kernel moves the bytes (splice(2)). Never
more than one buffer or pipe is read ahead of the peer that is to receive it, so that backpressure
is the kernel's. Sockets are edge-triggered: a way reads until there is no more, or its target is
full.
"""

import errno
import os
import select
import socket
from typing import Final, Protocol

from hostports.core.relay.half_close import Way
from hostports.relay.calls import ROOM
from hostports.relay.pipes import PIPE_SIZE, Pipe
from hostports.relay.streams import Streams

#: What a connection's sockets are watched for, and those of them that a way may write to again.
INPUT: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
BOTH: Final = INPUT | select.EPOLLOUT
#: The source's end, or failure, is known to come behind what can be read; the end, and no failure.
_ENDING: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
_READABLE: Final = select.EPOLLIN | _ENDING
_END: Final = select.EPOLLRDHUP
_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_WRITABLE: Final = select.EPOLLOUT

#: Reads of at least this many bytes, this many times in a row, are a bulk transfer.
_LARGE: Final = 1 << 15
_BULK: Final = 3
#: Reads in one turn, so that no connection keeps the others waiting.
_TURN: Final = 8

#: What a call says that would have to wait.
_WAIT: Final = -errno.EAGAIN
_MORE: Final = socket.MSG_MORE
_MOVE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_splice: Final = os.splice


class Ends(Protocol):
    """The connection, as its ways need it."""

    def writable(self, way: Way) -> None:
        """A way's source takes again what the other way has for it."""
        ...

    def ended(self, way: Way) -> None:
        """All that came by a way has been passed on."""
        ...

    def broken(self, way: Way) -> None:
        """One of a way's sockets failed."""
        ...


class Flow:
    """A way of a connection: `source` is read, `target` is written to.

    With `messages` each read brings one message (SCTP), not all the bytes there are.
    """

    __slots__ = (
        "_connection",
        "_large",
        "_pipe",
        "_piped",
        "_read_on",
        "_streams",
        "_unsent",
        "_watched_for_output",
        "done",
        "moved",
        "source",
        "stalled",
        "target",
        "way",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - whose way it is, and between whom
        self,
        streams: Streams,
        connection: Ends,
        way: Way,
        source: int,
        target: int,
        messages: int,
        prologue: bytes,
    ) -> None:
        self.source = source
        self.target = target
        self.way = way
        #: Bytes passed on.
        self.moved = 0
        #: Whether the end has been reached and passed on, or the connection closed.
        self.done = False
        #: Whether it waits until the target takes more.
        self.stalled = False
        self._streams = streams
        self._connection = connection
        #: Why there may be more behind a short read: events that told of the source's end.
        self._read_on = messages
        #: What goes to the target before anything else is read.
        self._unsent = prologue
        self._pipe: Pipe | None = None
        self._piped = 0
        self._large = 0
        self._watched_for_output = False

    def ready(self, events: int) -> None:
        """The source has something to say, or takes again what the other way has for it."""
        if events & _WRITABLE:
            self._connection.writable(self.way)
        if self.done:
            if events & _GONE:
                self._connection.broken(self.way)
        elif events & _READABLE:
            self._read_on |= events & _ENDING
            if not self.stalled:
                self.try_to_pump()

    def go_on(self) -> None:
        """Take another turn."""
        if not self.done and not self.stalled:
            self.try_to_pump()

    def try_to_pump(self) -> None:
        """Pump; if a socket fails, the connection is told so."""
        try:
            self.pump()
        except OSError:
            self._connection.broken(self.way)

    def pump(self) -> None:
        """Pass on what there is; raises `OSError` if a socket fails."""
        if self._pipe is not None:
            self._pump_through_pipe(self._pipe)
        elif not self._unsent or self._send(self._unsent):
            self._pump_through_buffer()

    def release(self) -> None:
        """Give back what the way has; it is over."""
        self.done = True
        self.stalled = False
        self._unsent = b""
        self._give_pipe_back()

    def _pump_through_buffer(self) -> None:
        """Pass on until the source is empty, as after a read that doesn't fill the buffer.

        But an end that came along with data gives no event of its own: so it is looked for, unless
        all is known to have come, and that nothing but the end is left.
        """
        calls = self._streams.calls
        last = self._read_on == _END
        flags = _MORE if last else 0
        for _ in range(_TURN):
            count = calls.read(self.source)
            if count <= 0:
                if count != _WAIT:
                    self._nothing_read(count)
                return
            sent = calls.write(self.target, count, flags)
            if sent != count:
                self._not_all_sent(sent, count)
                return
            self.moved += count
            if count < _LARGE:
                self._large = 0
            elif pipe := self._pipe_for_bulk():
                self._pump_through_pipe(pipe)
                return
            if count < ROOM:
                if last:
                    self._end()
                    return
                if not self._read_on:
                    return
        self._streams.poller.again(self)

    def _nothing_read(self, count: int) -> None:
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        self._end()

    def _not_all_sent(self, sent: int, count: int) -> None:
        if sent == _WAIT:
            sent = 0
        elif sent < 0:
            raise OSError(-sent, os.strerror(-sent))
        self.moved += sent
        self._stall(self._streams.calls.rest(sent, count))

    def _send(self, unsent: bytes) -> bool:
        try:
            sent = os.write(self.target, unsent)
        except BlockingIOError:
            sent = 0
        self.moved += sent
        if sent < len(unsent):
            self._stall(unsent[sent:])
            return False
        self._unsent = b""
        self.stalled = False
        return True

    def _stall(self, unsent: bytes = b"") -> None:
        """Wait until the target takes more."""
        self._unsent = unsent
        self.stalled = True
        if not self._watched_for_output:
            self._watched_for_output = True
            self._streams.poller.change(self.target, BOTH)

    def _pipe_for_bulk(self) -> Pipe | None:
        self._large += 1
        if self._large >= _BULK:
            self._large = 0
            self._pipe = self._streams.pipes.take()
        return self._pipe

    def _pump_through_pipe(self, pipe: Pipe) -> None:
        outlet, inlet = pipe
        source, target = self.source, self.target
        self.stalled = False
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
        self._streams.poller.again(self)

    def _give_pipe_back(self) -> None:
        if self._pipe is not None:
            self._streams.pipes.give(self._pipe, empty=not self._piped)
            self._pipe = None

    def _end(self) -> None:
        self.done = True
        self._give_pipe_back()
        self._connection.ended(self.way)

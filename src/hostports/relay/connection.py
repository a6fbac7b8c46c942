"""A relayed connection of TCP or SCTP: a client's socket, a container's, and the ways between."""

import errno
import select
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from hostports.core.relay.half_close import Ends, Open, Way
from hostports.relay.calls import Option, reset_on_close
from hostports.relay.flow import BOTH, INPUT, Flow
from hostports.relay.streams import Streams

#: What epoll tells of without being asked: EPOLLERR and EPOLLHUP.
_FAILURE: Final = select.EPOLLET
#: Looked up once, as an enumeration finds its members slowly.
_BOTH: Final = Open.BOTH
_NONE: Final = Open.NONE
_BROKEN: Final = Open.BROKEN
_TO_CONTAINER: Final = Way.TO_CONTAINER
_TO_CLIENT: Final = Way.TO_CLIENT
#: The container's answer to connect(2) is still on its way.
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EALREADY)


@dataclass(frozen=True, slots=True)
class Destination:
    """The container's port: a packed socket address, the options of sockets to it, how they end.

    `messages` is an event that is never told, EPOLLMSG, where reads bring one message each (SCTP).
    """

    family: int
    protocol: int
    address: bytes
    options: tuple[Option, ...]
    ends: Ends
    messages: int


class Owner(Protocol):
    """The listener that accepted a connection."""

    destination: Destination

    def failed(self, number: int) -> None:
        """The container can't be reached, by errno."""
        ...

    def gone(self, connection: "Connection") -> None:
        """A connection is closed."""
        ...


class Connection:
    """A client that was accepted, and the container that is dialled for it."""

    #: What may be deleted, mypyc has to be told.
    __deletable__ = ("to_client", "to_container")
    __slots__ = (
        "_client",
        "_container",
        "_open",
        "_owner",
        "_streams",
        "to_client",
        "to_container",
    )

    def __init__(
        self, streams: Streams, owner: Owner, client: int, container: int, prologue: bytes
    ) -> None:
        messages = owner.destination.messages
        self.to_container = Flow(
            streams, self, _TO_CONTAINER, client, container, messages, prologue
        )
        self.to_client = Flow(streams, self, _TO_CLIENT, container, client, messages, b"")
        self._streams = streams
        self._owner = owner
        self._client = client
        self._container = container
        self._open = _BOTH

    def start(self) -> None:
        """Dial the container; on one host it has often answered when connect(2) returns."""
        destination = self._owner.destination
        poller, calls = self._streams.poller, self._streams.calls
        calls.set_options(self._container, destination.options)
        state = calls.connect(self._container, destination.address)
        if state == 0:
            poller.watch(self._container, INPUT, self.to_client)
            # What the client has said goes on before anything else: the container works meanwhile.
            self.to_container.try_to_pump()
            if self._open is not _NONE:
                poller.watch(self._client, INPUT, self.to_container)
        elif state in _UNDER_WAY:
            poller.watch(self._container, BOTH, self)
            poller.watch(self._client, _FAILURE, _Early(self))
            self._streams.connecting(self)
        else:
            self._fail(state)

    def ready(self, events: int) -> None:  # noqa: ARG002 - connect(2) knows more than they say
        """The container has answered."""
        state = self._streams.calls.connect(self._container, self._owner.destination.address)
        if state == 0:
            self._streams.answered(self)
            self._streams.poller.hand_over(self._container, self.to_client)
            self._streams.poller.hand_over(self._client, self.to_container)
            # Asked for anew, it is told again what came along with the answer, as a greeting does.
            self._streams.poller.change(self._container, INPUT)
            self._streams.poller.change(self._client, INPUT)
            self.to_container.try_to_pump()
        elif state not in _UNDER_WAY:
            self._fail(state)

    def give_up(self) -> None:
        """The container had time enough to answer."""
        self._fail(errno.ETIMEDOUT)

    def writable(self, way: Way) -> None:
        """A peer takes more, which the other way than that from it may wait for."""
        other = self._other(way)
        if other.stalled:
            other.try_to_pump()

    def ended(self, way: Way) -> None:
        """All of one way has been passed on: tell the peer, or close when nothing is open."""
        self._open = self._owner.destination.ends[self._open, way]
        if self._open is _NONE:
            self._close()
        elif self._open is not _BROKEN:
            target = self._container if way is _TO_CONTAINER else self._client
            self._streams.calls.end_output(target)

    def broken(self, way: Way) -> None:
        """A socket failed: what the other side said before may still pass, then both are reset."""
        if self._open is _NONE:
            return
        self._open = _BROKEN
        other = self._other(way)
        if not other.done:
            with suppress(OSError):
                other.pump()
        self.reset()

    def reset(self) -> None:
        """Close at once; the peers see a reset, not an end."""
        if self._open is not _NONE:
            reset_on_close(self._streams.calls, self._client)
            reset_on_close(self._streams.calls, self._container)
            self._open = _NONE
            self._streams.answered(self)
            self._close()

    def _fail(self, number: int) -> None:
        self._owner.failed(number)
        self.reset()

    def _other(self, way: Way) -> Flow:
        return self.to_client if way is _TO_CONTAINER else self.to_container

    def _close(self) -> None:
        for each in (self.to_client, self.to_container):
            if not each.done:
                each.release()
        poller = self._streams.poller
        poller.close(self._client)
        poller.close(self._container)
        self._owner.gone(self)
        del self.to_client, self.to_container  # they name us, and nothing looks for such circles


class _Early:
    """A client whose container has not answered yet: all that counts is that it resets.

    It may end its question already, which is no reason to give up (that is no EPOLLHUP).
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ready(self, events: int) -> None:  # noqa: ARG002 - there is but one event
        """The client is gone."""
        self._connection.reset()

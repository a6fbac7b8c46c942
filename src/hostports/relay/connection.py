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
#: The container's answer to connect(2) is still on its way.
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EALREADY)


@dataclass(frozen=True, slots=True)
class Destination:
    """The container's port: a packed socket address, the options of sockets to it, how they end.

    `by_message` says that reads bring one message each (SCTP), not all the bytes there are.
    """

    family: int
    protocol: int
    address: bytes
    options: tuple[Option, ...]
    ends: Ends
    by_message: bool


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

    __slots__ = ("_client", "_container", "_open", "_owner", "streams", "to_client", "to_container")

    def __init__(self, streams: Streams, owner: Owner, client: int, container: int) -> None:
        self.streams = streams
        by_message = owner.destination.by_message
        self.to_container = Flow(self, Way.TO_CONTAINER, client, container, by_message=by_message)
        self.to_client = Flow(self, Way.TO_CLIENT, container, client, by_message=by_message)
        self.to_container.twin, self.to_client.twin = self.to_client, self.to_container
        self._owner = owner
        self._client = client
        self._container = container
        self._open = Open.BOTH

    def start(self) -> None:
        """Dial the container; on one host it has often answered when connect(2) returns."""
        calls, destination = self.streams.calls, self._owner.destination
        for option in destination.options:
            calls.set_option(self._container, *option)
        state = calls.connect(self._container, destination.address)
        if state == errno.EINPROGRESS:
            state = calls.connect(self._container, destination.address)
        if state == 0:
            self.streams.poller.watch(self._container, INPUT, self.to_client)
            # What the client has said goes on before anything else: the container works meanwhile.
            self.to_container.try_to_pump()
            if self._open is not Open.NONE:
                self.streams.poller.watch(self._client, INPUT, self.to_container)
        elif state in _UNDER_WAY:
            self.streams.poller.watch(self._container, BOTH, self)
            self.streams.poller.watch(self._client, _FAILURE, _Early(self))
            self.streams.connecting(self)
        else:
            self._fail(state)

    def ready(self, events: int) -> None:  # noqa: ARG002 - connect(2) knows more than they say
        """The container has answered."""
        state = self.streams.calls.connect(self._container, self._owner.destination.address)
        if state == 0:
            self.streams.answered(self)
            self.streams.poller.hand_over(self._container, self.to_client)
            self.streams.poller.hand_over(self._client, self.to_container)
            # Asked for anew, it is told again what came along with the answer, as a greeting does.
            self.streams.poller.change(self._container, INPUT)
            self.streams.poller.change(self._client, INPUT)
            self.to_container.try_to_pump()
        elif state not in _UNDER_WAY:
            self._fail(state)

    def give_up(self) -> None:
        """The container had time enough to answer."""
        self._fail(errno.ETIMEDOUT)

    def ended(self, way: Way) -> None:
        """All of one way has been passed on: tell the peer, or close when nothing is open."""
        self._open = self._owner.destination.ends[self._open, way]
        if self._open is Open.NONE:
            self._close()
        elif self._open is not Open.BROKEN:
            target = self._container if way is Way.TO_CONTAINER else self._client
            self.streams.calls.end_output(target)

    def broken(self, way: Way) -> None:
        """A socket failed: what the other side said before may still pass, then both are reset."""
        if self._open is Open.NONE:
            return
        self._open = Open.BROKEN
        other = self.to_client if way is Way.TO_CONTAINER else self.to_container
        if not other.done:
            with suppress(OSError):
                other.pump()
        self.reset()

    def reset(self) -> None:
        """Close at once; the peers see a reset, not an end."""
        if self._open is not Open.NONE:
            reset_on_close(self.streams.calls, self._client)
            reset_on_close(self.streams.calls, self._container)
            self._open = Open.NONE
            self._close()

    def _fail(self, number: int) -> None:
        self._owner.failed(number)
        self.reset()

    def _close(self) -> None:
        self.streams.answered(self)
        self.to_client.release()
        self.to_container.release()
        self.streams.poller.close(self._client)
        self.streams.poller.close(self._container)
        self._owner.gone(self)
        del self.to_client, self.to_container


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

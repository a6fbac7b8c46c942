"""A published port of TCP or SCTP: accepts clients for one binding."""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from hostports.core.relay.allowlist import allows
from hostports.core.relay.half_close import SCTP_ENDS, TCP_ENDS
from hostports.core.relay.proxy_protocol import header
from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelayCounters
from hostports.relay.addresses import packed, socket_family
from hostports.relay.calls import Option, reset_on_close
from hostports.relay.connection import Connection, Destination
from hostports.relay.streams import EXHAUSTED, Streams

#: Clients accepted in one turn.
_TURN: Final = 64
#: accept(2) hands on what went wrong with a client that is gone; the next one may be well.
_NEXT: Final = (
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
    errno.EINTR,
)
_SCTP_INITMSG: Final = 2
#: struct sctp_initmsg: as many streams as there can be (moby 28.5).
_MOST_STREAMS: Final = struct.pack("HHHH", 0xFFFF, 0xFFFF, 0, 0)
#: Seconds of silence before, and between, the probes that find a peer gone (docker-proxy's).
_KEEPALIVE_S: Final = 15
#: As a listening socket gets it; how many probes, the network namespace says to all sockets alike.
_PROBING: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_S),
)
_HOW_MANY_PROBES: Final = (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)


class StreamListener:
    """Serves one binding on its listening socket, which is closed with it."""

    __slots__ = (
        "_connections",
        "_ended",
        "_failed",
        "_listening",
        "_moved_to_client",
        "_moved_to_container",
        "_opened",
        "_refused",
        "_streams",
        "binding",
        "destination",
    )

    def __init__(self, streams: Streams, binding: PortBinding, listening: socket.socket) -> None:
        self.binding = binding
        self._streams = streams
        # A dict, as an empty set takes thrice the memory, and most ports have nobody.
        self._connections: dict[Connection, None] = {}
        self._ended: Callable[[], None] | None = None
        self._opened = self._refused = self._failed = 0
        self._moved_to_container = self._moved_to_client = 0
        listening.settimeout(0)
        self.destination = _destination(binding, listening)
        streams.poller.watch(listening.fileno(), select.EPOLLIN, self)
        #: The descriptor; below 0 once the port is left to others.
        self._listening = listening.detach()

    def counters(self) -> RelayCounters:
        """What it has relayed until now."""
        return RelayCounters(
            open=len(self._connections),
            opened=self._opened,
            refused=self._refused,
            failed=self._failed,
            bytes_to_container=self._moved_to_container
            + sum(each.to_container.moved for each in self._connections),
            bytes_to_client=self._moved_to_client
            + sum(each.to_client.moved for each in self._connections),
        )

    def ready(self, events: int) -> None:  # noqa: ARG002 - there is but one event
        """Accept who waits."""
        accept, listening = self._streams.calls.accept, self._listening
        for _ in range(_TURN):
            if why := self._full():
                self._wait(why)
                return
            client = accept(listening)
            if client >= 0:
                self._take(client)
                if not self._streams.poller.busy:
                    return  # nobody else, most likely; else we are told so at once
            elif -client == errno.EAGAIN:
                return
            elif -client not in _NEXT:
                self._not_accepted(-client)
                return

    def resume(self) -> None:
        """Accept again; there may be room."""
        if self._listening >= 0:
            self._streams.poller.watch(self._listening, select.EPOLLIN, self)

    def drain(self, ended: Callable[[], None]) -> None:
        """Take no new clients, and leave the port; call back when the last one is gone."""
        self._streams.poller.close(self.give_away(ended))

    def give_away(self, ended: Callable[[], None]) -> int:
        """Drain, but leave the socket, and the clients that wait in it, to the caller."""
        self._ended = ended
        given = self._stop_listening()
        self._tell_if_ended()
        return given

    def close(self) -> None:
        """Reset all connections, and leave the port to others."""
        if self._listening >= 0:
            self._streams.poller.close(self._stop_listening())
        for each in tuple(self._connections):
            each.reset()

    def failed(self, number: int) -> None:
        """The container can't be reached; its clients are reset."""
        self._failed += 1
        self._streams.log.warn(
            str(self.binding), f"the container can't be reached: {os.strerror(number)}"
        )

    def gone(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.pop(connection, None)
        self._moved_to_container += connection.to_container.moved
        self._moved_to_client += connection.to_client.moved
        self._streams.closed(self)
        if self._ended is not None:
            self._tell_if_ended()

    def _tell_if_ended(self) -> None:
        if self._ended is not None and not self._connections:
            ended, self._ended = self._ended, None
            ended()

    def _stop_listening(self) -> int:
        self._streams.forget(self)
        self._streams.poller.forget(self._listening)
        given, self._listening = self._listening, -1
        return given

    def _full(self) -> str:
        limit = self._streams.settings.connections_per_binding
        if limit and len(self._connections) >= limit:
            return f"{limit} connections are open, the limit of one binding; new ones wait"
        return self._streams.full()

    def _wait(self, why: str) -> None:
        """Leave new clients in the kernel's queue until there is room."""
        self._streams.log.warn(str(self.binding), why)
        self._streams.poller.forget(self._listening)
        self._streams.wait(self)

    def _not_accepted(self, number: int) -> None:
        if number in EXHAUSTED:
            self._streams.make_room()
        self._wait(f"clients can't be accepted: {os.strerror(number)}; they wait")

    def _take(self, client: int) -> None:
        prologue = b""
        if self.binding.allow_from or self.binding.proxy_protocol:
            found = _ends(client, socket_family(self.binding.socket.ip))
            if found is None or not allows(self.binding.allow_from, found[0][0]):
                self._refuse(client, listed=found is None)
                return
            if self.binding.proxy_protocol:
                prologue = header(*found)
        container = self._streams.dial(self.destination.family, self.destination.protocol)
        if container < 0:
            self.failed(-container)
            self._refuse(client, listed=True)
            return
        connection = Connection(self._streams, self, client, container, prologue)
        self._connections[connection] = None
        self._opened += 1
        self._streams.opened()
        connection.start()

    def _refuse(self, client: int, *, listed: bool) -> None:
        """Reset a client; count it if that is for the allowlist."""
        self._refused += not listed
        reset_on_close(self._streams.calls, client)
        os.close(client)


def _ends(client: int, family: int) -> tuple[Any, Any] | None:
    """A client's address and the one it connected to; None if it is gone already."""
    accepted = socket.socket(family, socket.SOCK_STREAM, 0, fileno=client)
    try:
        return accepted.getpeername()[:2], accepted.getsockname()[:2]
    except OSError:
        return None
    finally:
        accepted.detach()


def _destination(binding: PortBinding, listening: socket.socket) -> Destination:
    family = socket_family(binding.container_ip)
    address = packed(binding.container_ip, binding.container_port)
    if binding.protocol is Protocol.SCTP:
        protocol = socket.IPPROTO_SCTP
        streams = Option(protocol, _SCTP_INITMSG, _MOST_STREAMS)
        return Destination(family, protocol, address, (streams,), SCTP_ENDS, select.EPOLLMSG)
    # What a client wrote alone arrives alone.
    _set(listening, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options = _options(((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *_keepalive(listening)))
    return Destination(family, 0, address, options, TCP_ENDS, 0)


def _keepalive(listening: socket.socket) -> Sequence[tuple[int, int, int]]:
    """Probe both sides alike; accepted sockets inherit from the one that listens (tcp(7))."""
    if listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        names = (*((level, name) for level, name, _ in _PROBING), _HOW_MANY_PROBES)
        return [(*each, listening.getsockopt(*each)) for each in names]
    for each in _PROBING:
        _set(listening, *each)
    return _PROBING


@lru_cache
def _options(values: tuple[tuple[int, int, int], ...]) -> tuple[Option, ...]:
    """Options with these values: thousands of ports share them."""
    return tuple(Option(level, name, struct.pack("i", value)) for level, name, value in values)


def _set(listening: socket.socket, level: int, name: int, value: int) -> None:
    with suppress(OSError):
        listening.setsockopt(level, name, value)

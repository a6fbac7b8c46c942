"""A published port of UDP: one session per client, with a socket of its own to the container."""

import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from hostports.core.relay.allowlist import allows
from hostports.core.relay.sessions import SessionTable
from hostports.model.port import PortBinding
from hostports.model.relay import RelayCounters, RelaySettings
from hostports.relay.addresses import host_of, packed, socket_family
from hostports.relay.datagrams import (
    UDP_GRO,
    Inbox,
    Sender,
    control_message,
    control_messages,
    segment_size,
)
from hostports.relay.log import Log
from hostports.relay.poller import Poller

#: Bytes of a socket's receive buffer; the kernel cuts it to net.core.rmem_max.
_RECEIVE_BUFFER: Final = 1 << 22
#: Seconds between looks for sessions that have expired.
_LOOK_S: Final = 5.0
_IP_PKTINFO: Final = (socket.IPPROTO_IP, 8)
_IPV6_PKTINFO: Final = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
#: struct in_pktinfo: interface, local address, the header's destination.
_PKTINFO4: Final = struct.Struct("@i4s4s")
#: struct in6_pktinfo: address, interface.
_PKTINFO6: Final = struct.Struct("@16si")


class Datagrams:
    """What all UDP ports of the process share: memory for messages, limits, a look at the clock."""

    def __init__(self, poller: Poller, log: Log, settings: RelaySettings) -> None:
        self.poller = poller
        self.log = log
        self.settings = settings
        self.inbox = Inbox()
        self.to_container = Sender(self.inbox)
        self.to_client = Sender(self.inbox)
        self._busy: dict[DatagramListener, None] = {}

    def expire_later(self, listener: "DatagramListener") -> None:
        """Look after a listener's sessions until it has none."""
        if not self._busy:
            self.poller.call_in(_LOOK_S, self._look)
        self._busy[listener] = None

    def _look(self) -> None:
        for listener in tuple(self._busy):
            listener.expire()
            if listener.idle:
                del self._busy[listener]
        if self._busy:
            self.poller.call_in(_LOOK_S, self._look)


class Session:
    """A client of a UDP port, and the socket that speaks to the container for it."""

    __slots__ = ("client", "control", "descriptor", "from_where", "listener", "segment")

    def __init__(self, listener: "DatagramListener", client: bytes, descriptor: int) -> None:
        self.listener = listener
        #: Packed socket address.
        self.client = client
        self.descriptor = descriptor
        #: Ancillary data of the client's last message, and what follows from them.
        self.control = b""
        self.segment = 0
        self.from_where = b""

    def ready(self, events: int) -> None:  # noqa: ARG002 - messages, or what an earlier one met
        """The container has answered."""
        self.listener.answer(self)

    def heard(self, control: bytes) -> None:
        """Answer from where the client wrote to; it may write to another address the next time."""
        self.control = control
        found = control_messages(control)
        self.segment = segment_size(found)
        self.from_where = _source(found)


class DatagramListener:
    """Serves one binding on its socket, which is closed with it."""

    __slots__ = (
        "_destination",
        "_draining",
        "_ended",
        "_failed",
        "_moved_to_client",
        "_moved_to_container",
        "_opened",
        "_refused",
        "_sessions",
        "_shared",
        "_socket",
        "binding",
    )

    def __init__(self, shared: Datagrams, binding: PortBinding, bound: socket.socket) -> None:
        self.binding = binding
        self._shared = shared
        self._socket = bound
        self._sessions: SessionTable[Session] = SessionTable(shared.settings.sessions_per_binding)
        self._destination = packed(binding.container_ip, binding.container_port)
        self._draining = False
        self._ended: Callable[[], None] | None = None
        self._opened = self._refused = self._failed = 0
        self._moved_to_container = self._moved_to_client = 0
        _prepare(bound)
        shared.poller.watch(bound.fileno(), select.EPOLLIN, self)

    @property
    def idle(self) -> bool:
        """Whether it has no session."""
        return not len(self._sessions)

    def counters(self) -> RelayCounters:
        """What it has relayed until now."""
        return RelayCounters(
            open=len(self._sessions),
            opened=self._opened,
            refused=self._refused,
            failed=self._failed,
            bytes_to_container=self._moved_to_container,
            bytes_to_client=self._moved_to_client,
        )

    def ready(self, events: int) -> None:  # noqa: ARG002 - there is but one event
        """Pass on what clients wrote."""
        shared = self._shared
        inbox = shared.inbox
        count = inbox.receive(self._socket.fileno())
        first = 0
        while first < count:
            end = inbox.run(first, count)
            client = inbox.sender(first)
            session = self._sessions.get(client) or self._open(client)
            if session is not None:
                control = inbox.control(first)
                if control != session.control:
                    session.heard(control)
                self._moved_to_container += shared.to_container.send(
                    session.descriptor, first, end, session.segment, b"", b""
                )
                self._sessions.touch(client, shared.poller.now)
            first = end

    def answer(self, session: Session) -> None:
        """Pass on what the container wrote to a client."""
        shared = self._shared
        inbox = shared.inbox
        count = inbox.receive(session.descriptor)
        first = 0
        while first < count:
            end = inbox.run(first, count)
            segment = segment_size(control_messages(inbox.control(first)))
            self._moved_to_client += shared.to_client.send(
                self._socket.fileno(), first, end, segment, session.client, session.from_where
            )
            first = end
        if count > 0:
            self._sessions.touch(session.client, shared.poller.now)

    def expire(self) -> None:
        """End the sessions that have been silent for long."""
        for session in self._sessions.expire(self._shared.poller.now):
            self._shared.poller.close(session.descriptor)
        self._tell_if_ended()

    def drain(self, ended: Callable[[], None]) -> None:
        """Take no new clients; with the last session the socket is closed, and we call back."""
        self._draining = True
        self._ended = ended
        self._tell_if_ended()

    def give_away(self, ended: Callable[[], None]) -> int:
        """Drain, and leave what clients write to whoever gets the socket; answers still go out.

        Without a descriptor to spare it is the socket itself that goes, and answers are lost.
        """
        self._shared.poller.forget(self._socket.fileno())
        try:
            given = os.dup(self._socket.fileno())
        except OSError:
            given = self._socket.detach()
            self.close()
        self.drain(ended)
        return given

    def close(self) -> None:
        """End all sessions, and leave the port to others."""
        self._draining = True
        for session in self._sessions:
            self._shared.poller.close(session.descriptor)
        self._sessions = SessionTable(1)
        self._close_socket()
        self._tell_if_ended()

    def _tell_if_ended(self) -> None:
        if self._ended is not None and self.idle:
            self._close_socket()
            ended, self._ended = self._ended, None
            ended()

    def _close_socket(self) -> None:
        if self._socket.fileno() >= 0:
            self._shared.poller.forget(self._socket.fileno())
            self._shared.poller.close(self._socket.detach())

    def _open(self, client: bytes) -> Session | None:
        if self._draining:
            return None
        if not allows(self.binding.allow_from, host_of(client)):
            self._refused += 1
            return None
        try:
            descriptor = self._dial()
        except OSError as error:
            self._failed += 1
            text = f"the container can't be reached: {os.strerror(error.errno or 0)}"
            self._shared.log.warn(str(self.binding), text)
            return None
        session = Session(self, client, descriptor)
        evicted = self._sessions.add(client, session, self._shared.poller.now)
        if evicted is not None:
            limit = self._shared.settings.sessions_per_binding
            text = f"{limit} sessions are open, the limit of one binding; the oldest make room"
            self._shared.log.warn(str(self.binding), text)
            self._shared.poller.close(evicted.descriptor)
        self._opened += 1
        self._shared.poller.watch(descriptor, select.EPOLLIN, session)
        self._shared.expire_later(self)
        return session

    def _dial(self) -> int:
        made = socket.socket(socket_family(self.binding.container_ip), socket.SOCK_DGRAM)
        try:
            _prepare(made)
            made.connect((str(self.binding.container_ip), self.binding.container_port))
        except BaseException:
            made.close()
            raise
        return made.detach()


def _prepare(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    with suppress(OSError):  # Linux 5.0
        made.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)


def _source(received: dict[tuple[int, int], bytes]) -> bytes:
    """The ancillary data by which an answer leaves from the address that a message was sent to.

    The interface is named only where the address means nothing without it; else routes decide.
    """
    if info := received.get(_IP_PKTINFO):
        _, local, _ = _PKTINFO4.unpack(info)
        return control_message(*_IP_PKTINFO, _PKTINFO4.pack(0, local, bytes(4)))
    if info := received.get(_IPV6_PKTINFO):
        local, interface = _PKTINFO6.unpack(info)
        link_local = local[0] == 0xFE and local[1] & 0xC0 == 0x80
        if local[0] == 0xFF:  # multicast is nobody's source
            return b""
        return control_message(
            *_IPV6_PKTINFO, _PKTINFO6.pack(local, interface if link_local else 0)
        )
    return b""

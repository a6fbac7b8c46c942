"""Published ports with a container behind them: scripted by hand, or answering with an echo."""

import select
import selectors
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Final

import pytest

from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelayCounters
from tests.relay.lab import (
    BRIDGE_IPV4,
    BRIDGE_IPV6,
    CONTAINER_IPV4,
    CONTAINER_IPV6,
    HOST_IPV4,
    HOST_IPV6,
)
from tests.relay.peers import BACKLOG, bound, connected
from tests.relay.relays import RunningRelay

#: The host address that clients write to where a port is published on the wildcard.
_REACHED: Final = {"0.0.0.0": HOST_IPV4, "::": HOST_IPV6}
#: Where a port may be published, where it may lead to, and whom the container then sees.
FAMILIES: Final = pytest.mark.parametrize(
    ("host_ip", "container_ip", "bridge_ip"),
    [
        pytest.param("0.0.0.0", CONTAINER_IPV4, BRIDGE_IPV4, id="IPv4"),
        pytest.param("::", CONTAINER_IPV6, BRIDGE_IPV6, id="IPv6"),
        pytest.param("::", CONTAINER_IPV4, BRIDGE_IPV4, id="IPv6-to-IPv4"),
    ],
)
_KINDS: Final = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}


class Service:
    """A published port, the container's socket, and everybody who came; closed in the end."""

    def __init__(
        self, relay: RunningRelay, binding: PortBinding, server: socket.socket, stack: ExitStack
    ) -> None:
        self.relay = relay
        self.binding = binding
        self.server = server
        self._stack = stack

    def connect(self, *, source: str = "") -> socket.socket:
        """A client that has connected to the host."""
        return self._stack.enter_context(self.new_client(source=source))

    def new_client(self, *, source: str = "") -> socket.socket:
        """A client that the caller closes."""
        ip = str(self.binding.host_ip)
        return connected(
            self.relay.lab.client,
            _REACHED.get(ip, ip),
            self.binding.host_port,
            kind=_KINDS[self.binding.protocol],
            source=source,
        )

    def accept(self) -> socket.socket:
        """The container's end of the next connection."""
        accepted, _ = self.server.accept()
        accepted.settimeout(self.server.gettimeout())
        return self._stack.enter_context(accepted)

    def join(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection: the client's and the container's."""
        return self.connect(), self.accept()

    def counters(self) -> RelayCounters:
        """What the relay says of the binding."""
        return self.relay.counters(self.binding)


@contextmanager
def serving(
    relay: RunningRelay,
    protocol: Protocol = Protocol.TCP,
    host_ip: str = "0.0.0.0",
    container_ip: str = CONTAINER_IPV4,
    *,
    port: int = 8080,
    backlog: int = BACKLOG,
    allow_from: Sequence[str] = (),
) -> Iterator[Service]:
    """Publish a port that leads to a socket of the container."""
    with ExitStack() as stack:
        server = bound(relay.lab.container, _KINDS[protocol], container_ip, port)
        stack.enter_context(server)
        if protocol.listens:
            server.listen(backlog)
        binding = relay.publish(protocol, host_ip, port, container_ip, port, allow_from=allow_from)
        yield Service(relay, binding, server, stack)


@contextmanager
def echoing(server: socket.socket) -> Iterator[list[object]]:
    """Send back what comes to a server until the end of the block; gives whom it has met."""
    met: list[object] = []
    end, told = socket.socketpair()
    with end, selectors.DefaultSelector() as watched:
        watched.register(end, selectors.EVENT_READ)
        watched.register(server, selectors.EVENT_READ)
        thread = Thread(target=_echo, args=(watched, end, server, met))
        thread.start()
        try:
            yield met
        finally:
            told.close()
            thread.join()


def _echo(
    watched: selectors.BaseSelector, end: socket.socket, server: socket.socket, met: list[object]
) -> None:
    while True:
        for key, _ in watched.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready is end:
                return
            if ready.type == socket.SOCK_DGRAM:
                data, peer = ready.recvfrom(1 << 16)
                met.append(peer)
                ready.sendto(data, peer)
            elif ready is server:
                accepted, peer = ready.accept()
                met.append(peer)
                watched.register(accepted, selectors.EVENT_READ)
            else:
                _echo_stream(watched, ready)


def _echo_stream(watched: selectors.BaseSelector, accepted: socket.socket) -> None:
    try:
        data = accepted.recv(1 << 16)
    except ConnectionResetError:
        data = b""
    if data:
        accepted.sendall(data)
    else:
        watched.unregister(accepted)
        accepted.close()


def answered(clients: Sequence[socket.socket]) -> list[socket.socket]:
    """Those who have something to read."""
    waiting = select.poll()
    for client in clients:
        waiting.register(client, select.POLLIN)
    ready = {descriptor for descriptor, _ in waiting.poll(0)}
    return [client for client in clients if client.fileno() in ready]

"""Reserve the host port of one group: the book proposes, bind proves, RootlessKit is told."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from hostports.core.expand import PortGroup
from hostports.core.portbook import PortBook
from hostports.engine.resources import Resources
from hostports.engine.undo import UndoStack, take_all
from hostports.errors import (
    HostPortInUse,
    NoPortFree,
    PortAskedTwice,
    PortDriverConflict,
    PortError,
    PortPublished,
    ReleaseFailed,
)
from hostports.interfaces import HostSockets, RelayedBinding
from hostports.model.following import Following
from hostports.model.host import Host
from hostports.model.network import Endpoint
from hostports.model.port import PortBinding

#: How often a group looks for another port after others were told of one (moby 28.5). A port that
#: bind(2) refuses cost nobody anything and doesn't count: a range is tried to its end.
MAX_ATTEMPTS: Final = 10


class Reservation:
    """One group's host port while it is being published; its sockets are bound but don't listen.

    `bindings` are the group's bindings with the ports that are held.
    """

    __slots__ = (
        "_attempts",
        "_book",
        "_edges",
        "_endpoint",
        "_group",
        "_host",
        "_refused",
        "_tried",
        "_undo",
        "bindings",
    )

    def __init__(
        self, resources: Resources, endpoint: Endpoint, group: PortGroup, host: Host
    ) -> None:
        self.bindings: tuple[PortBinding, ...] = ()
        self._edges = resources.edges
        self._book = resources.book
        self._endpoint = endpoint
        self._group = group
        self._host = host
        # A dict, as an empty set takes thrice the memory, and most groups try one port.
        self._tried: dict[int, None] = {}
        self._attempts = 0
        self._refused: PortBinding | None = None
        self._undo = UndoStack()

    def take(self) -> None:
        """Hold the next host port that was not tried yet, or raise and hold none.

        Raises `PortPublished`, `HostPortInUse` or `PortDriverConflict` if no other port may be
        tried, `NoPortFree` if none is left, and at once whatever no other port can mend.
        """
        while True:
            try:
                return self._take_next()
            except HostPortInUse as error:
                self._raise_if_last(error)
            except PortDriverConflict as error:
                self._attempts += 1
                self._raise_if_last(error)
            except NoPortFree as error:
                self._name_holder(error)
                raise

    @property
    def followings(self) -> tuple[Following, ...]:
        """What stays wanted when bindings that follow interfaces go; nothing if all is routed."""
        group = self._group
        if not group.interfaces or not self._bound():
            return ()
        return tuple(
            Following(
                self._endpoint.name,
                interface,
                group.protocol,
                self._bound()[0].host_port,
                group.container_port,
                group.mode,
                group.allow_from,
                group.proxy_protocol,
            )
            for interface in group.interfaces
        )

    def listen(self) -> None:
        """Let traffic in on every socket. Raises `HostPortInUse` if the port can't be kept."""
        for binding in self._bound():
            with self._noting_refusal(binding):
                self._edges.sockets.listen(binding.socket, relayed=self._edges.relay is not None)

    def move(self, refusal: HostPortInUse) -> None:
        """Give the port up, as it can't be kept, and take the next one; raises as `take` does."""
        self._attempts += 1
        self._raise_if_last(refusal)
        self.free()
        self.take()

    def relayed(self) -> list[RelayedBinding]:
        """The bindings and their sockets, for the relay."""
        fileno = self._edges.sockets.fileno
        return [RelayedBinding(binding, fileno(binding.socket)) for binding in self._bound()]

    def hand_over(self) -> None:
        """Close our copies of the sockets: the relay has its own."""
        for binding in self._bound():
            self._edges.sockets.release(binding.socket)

    def free(self) -> None:
        """Give everything back; a second time has no effect. Raises `ReleaseFailed`, all done."""
        self.bindings = ()
        if failures := self._undo.unwind():
            raise ReleaseFailed(failures)

    def _take_next(self) -> None:
        with self._undo as undo:
            tried = self._tried.keys()
            bindings = self._book.enter(self._group, self._endpoint, self._host, tried)
            undo.push(partial(_give_back, self._book, self._edges.sockets, bindings))
            if not self._group.exact:
                self._tried.update(dict.fromkeys(binding.host_port for binding in bindings))
            for binding in bindings:
                if not binding.routed:
                    self._bind(binding)
            for binding in bindings:
                self._announce(binding)
            self.bindings = bindings

    def _bind(self, binding: PortBinding) -> None:
        with self._noting_refusal(binding):
            self._edges.sockets.reserve(binding.socket)

    def _announce(self, binding: PortBinding) -> None:
        """Tell RootlessKit, where it is there, to forward to a binding."""
        driver = self._edges.port_driver
        if driver is not None and binding.child is not None:
            driver.add(binding.host_socket, binding.child)
            self._undo.push(partial(driver.remove, binding.host_socket))

    def _bound(self) -> list[PortBinding]:
        return [binding for binding in self.bindings if not binding.routed]

    @contextmanager
    def _noting_refusal(self, binding: PortBinding) -> Iterator[None]:
        try:
            yield
        except HostPortInUse:
            self._refused = binding
            raise

    def _raise_if_last(self, error: PortError | PortDriverConflict) -> None:
        """Raise unless another port can help; an attempt that left something behind is the last."""
        left_behind = getattr(error, "__notes__", ())
        if self._group.exact or self._attempts >= MAX_ATTEMPTS or left_behind:
            if isinstance(error, HostPortInUse):
                self._name_holder(error)
            raise error

    def _name_holder(self, error: PortError) -> None:
        """Say who holds the port that was refused last; only now, as finding out takes time."""
        if self._refused is None:
            return
        words, socket = str(self._refused.host_socket), self._refused.socket
        if self._refused.child is not None:
            words = f"{socket}, RootlessKit's child address for {words},"
        held = HostPortInUse(words, self._edges.sockets.holder(socket)).message
        error.message = held if isinstance(error, HostPortInUse) else f"{error.message}: {held}"


def reserve_all(
    resources: Resources,
    endpoint: Endpoint,
    groups: Iterable[PortGroup],
    host: Host,
    undo: UndoStack,
) -> list[Reservation]:
    """Hold a port for every group, or raise as `Reservation.take` does, or `PortAskedTwice`."""
    reservations: list[Reservation] = []
    for group in groups:
        reservation = Reservation(resources, endpoint, group, host)
        undo.push(reservation.free)
        try:
            reservation.take()
        except PortPublished as error:
            for binding in bindings_of(reservations):
                if (address := str(binding.host_socket)) in error.holders:
                    ports = (binding.container_port, group.container_port)
                    raise PortAskedTwice(address, ports) from None
            raise
        reservations.append(reservation)
    return reservations


def bindings_of(reservations: Iterable[Reservation]) -> tuple[PortBinding, ...]:
    """Their bindings, in order."""
    return tuple(binding for each in reservations for binding in each.bindings)


def _give_back(book: PortBook, sockets: HostSockets, bindings: Sequence[PortBinding]) -> None:
    """Let others have the ports, whether all of them were bound or not."""
    bound = [partial(sockets.release, each.socket) for each in bindings if not each.routed]
    take_all([*bound, partial(book.strike_out, bindings)])

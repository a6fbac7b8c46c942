"""Publish the ports of an endpoint: all of a request or nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from hostports.core.expand import PublishRequest, expand
from hostports.engine.reserve import Reservation, bindings_of, reserve_all
from hostports.engine.resources import Edges, Resources
from hostports.engine.undo import UndoStack
from hostports.errors import HostPortInUse
from hostports.model.firewall import FirewallChange
from hostports.model.following import Following
from hostports.model.port import PortBinding
from hostports.model.state import Recorded


@dataclass(frozen=True, slots=True)
class Publication:
    """What came of a request: bindings in order of allocation, and what its sender should know.

    `at` is when they were recorded. Of `followings` there are bindings for the addresses of now.
    """

    at: datetime
    bindings: tuple[PortBinding, ...]
    warnings: tuple[str, ...] = ()
    followings: tuple[Following, ...] = ()


def publish(
    resources: Resources, request: PublishRequest, is_wanted: Callable[[Recorded], bool]
) -> Publication:
    """Reserve every group, record it, open the firewall once, listen, and let the relay serve.

    What is published, or else `is_wanted`, is recorded already, and stays so whatever happens.
    Raises what `reserve_all` and `expand` raise, `StoreFailed`, `FirewallFailed` or
    `RelayFailed`; then all is as before, or notes on the error say what is not.
    """
    around, at = resources.circumstances(request.interfaces), resources.edges.clock.now()
    expansion, record = expand(request, around), _Record(resources, is_wanted, at)
    with UndoStack() as undo:
        groups = expansion.groups
        reservations = reserve_all(resources, request.endpoint, groups, around.host, undo)
        record.add(reservations, undo)
        open_firewall(resources, reservations, undo)
        for reservation in reservations:
            _listen(resources, reservation, undo, record)
        hand_to_relay(resources.edges, reservations, undo)
        resources.forget_flows(bindings_of(reservations))
    return Publication(
        at, bindings_of(reservations), expansion.warnings, _followings_of(reservations)
    )


def _followings_of(reservations: Iterable[Reservation]) -> tuple[Following, ...]:
    return tuple(following for each in reservations for following in each.followings)


def open_firewall(
    resources: Resources, reservations: Iterable[Reservation], undo: UndoStack
) -> None:
    """Open all bindings in one transaction, but for what an earlier request opened (routed)."""
    if bindings := resources.published.without(bindings_of(reservations)):
        change = FirewallChange(opened=bindings)
        resources.edges.firewall.apply(change)
        undo.push(partial(resources.edges.firewall.apply, change.reversed()))


def hand_to_relay(edges: Edges, reservations: Sequence[Reservation], undo: UndoStack) -> None:
    """Let the relay, where there is one, serve all sockets, and keep none."""
    if edges.relay is None:
        return
    relayed = [each for reservation in reservations for each in reservation.relayed()]
    if not relayed:
        return
    edges.relay.add(relayed)
    undo.push(partial(edges.relay.remove, [each.binding for each in relayed]))
    for reservation in reservations:
        reservation.hand_over()


class _Record:
    """All is written down before anything leads to it, so that a crash leaves no riddle."""

    def __init__(
        self, resources: Resources, is_wanted: Callable[[Recorded], bool], at: datetime
    ) -> None:
        self._resources = resources
        self._is_wanted = is_wanted
        self._at = at

    def add(self, reservations: Sequence[Reservation], undo: UndoStack) -> None:
        """Write down what is new."""
        if new := self._new(reservations):
            self._resources.record(added=new, at=self._at)
            undo.push(partial(self._resources.record, removed=new))

    def remove(self, reservation: Reservation) -> None:
        """Strike out what was new."""
        self._resources.record(removed=self._new([reservation]))

    def _new(self, reservations: Sequence[Reservation]) -> list[Recorded]:
        bindings = self._resources.published.without(bindings_of(reservations))
        asked: tuple[Recorded, ...] = (*bindings, *_followings_of(reservations))
        return [each for each in asked if not self._is_wanted(each)]


def _listen(
    resources: Resources, reservation: Reservation, undo: UndoStack, record: _Record
) -> None:
    """Listen, on another port if somebody took this one between bind and listen."""
    while True:
        try:
            return reservation.listen()
        except HostPortInUse as refusal:
            # Rules first: none may lead to a port that is no longer ours.
            bindings = resources.published.without(reservation.bindings)
            resources.edges.firewall.apply(FirewallChange(closed=bindings))
            record.remove(reservation)
            reservation.move(refusal)
            record.add([reservation], undo)
            open_firewall(resources, [reservation], undo)

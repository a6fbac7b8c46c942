"""Publish the ports of an endpoint: all of a request or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from hostports.core.expand import PublishRequest, expand
from hostports.engine.reserve import Reservation
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


def publish(resources: Resources, request: PublishRequest) -> Publication:
    """Reserve every group, record it, open the firewall once, listen, and let the relay serve.

    Raises what `Reservation.take` and `expand` raise, `StoreFailed`, `FirewallFailed` or
    `RelayFailed`; then all is as before, or notes on the error say what is not.
    """
    around, at = resources.circumstances(request.interfaces), resources.edges.clock.now()
    expansion = expand(request, around)
    with UndoStack() as undo:
        reservations = []
        for group in expansion.groups:
            reservation = Reservation(resources, request.endpoint, group, around.host)
            undo.push(reservation.free)
            reservation.take()
            reservations.append(reservation)
        _record(resources, reservations, undo, at)
        open_firewall(resources, reservations, undo)
        for reservation in reservations:
            _listen(resources, reservation, undo, at)
        hand_to_relay(resources.edges, reservations, undo)
        resources.forget_flows(bindings_of(reservations))
    return Publication(
        at, bindings_of(reservations), expansion.warnings, _followings_of(reservations)
    )


def bindings_of(reservations: Iterable[Reservation]) -> tuple[PortBinding, ...]:
    """Their bindings, in order."""
    return tuple(binding for each in reservations for binding in each.bindings)


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


def _record(
    resources: Resources, reservations: Sequence[Reservation], undo: UndoStack, at: datetime
) -> None:
    """Write down all bindings before anything leads to them, so that a crash leaves no riddle."""
    bindings = resources.published.without(bindings_of(reservations))
    wanted: tuple[Recorded, ...] = (*bindings, *_followings_of(reservations))
    if wanted:
        resources.record(added=wanted, at=at)
        undo.push(partial(resources.record, removed=wanted))


def _listen(resources: Resources, reservation: Reservation, undo: UndoStack, at: datetime) -> None:
    """Listen, on another port if somebody took this one between bind and listen."""
    while True:
        try:
            return reservation.listen()
        except HostPortInUse as refusal:
            # Rules first: none may lead to a port that is no longer ours.
            bindings = resources.published.without(reservation.bindings)
            resources.edges.firewall.apply(FirewallChange(closed=bindings))
            resources.record(removed=(*bindings, *reservation.followings))
            reservation.move(refusal)
            _record(resources, [reservation], undo, at)
            open_firewall(resources, [reservation], undo)

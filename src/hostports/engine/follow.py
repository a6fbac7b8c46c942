"""Publish on the addresses that followed interfaces have now, and on no others of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hostports.core.following import moves
from hostports.engine.registry import Registry
from hostports.engine.resources import Resources
from hostports.engine.restore import Lost
from hostports.engine.undo import UndoStack
from hostports.errors import HostportsError, ReleaseFailed
from hostports.model.port import PortBinding


@dataclass(frozen=True, slots=True)
class Followed:
    """Which bindings went and came; what came and can't be had is `lost`, and stays wanted.

    `failures` are what could not be done, or was left behind.
    """

    unpublished: tuple[PortBinding, ...] = ()
    published: tuple[PortBinding, ...] = ()
    lost: tuple[Lost, ...] = ()
    failures: tuple[HostportsError, ...] = ()


def follow(registry: Registry) -> Followed:
    """See which addresses the followed interfaces have; cheap where these are those of before.

    All that goes is unpublished before anything is published. What fails is left to the next look.
    """
    followings = registry.followings()
    if not followings:
        return Followed()
    try:
        around = registry.engine.resources.circumstances({each.interface for each in followings})
        seen = (followings, around.addresses)
        if registry.looked == seen:
            return Followed()
        endpoints = {each.name: each for each in registry.endpoints()}
        there = [*registry.engine.published(), *(each.binding for each in registry.lost)]
        moved = moves(followings, endpoints, there, around)
        failures = _unpublish(registry, moved.gone)
    except HostportsError as error:
        return Followed(failures=(error,))
    try:
        lost = _publish(registry, moved.come)
    except HostportsError as error:
        return Followed(moved.gone, failures=(*failures, error))
    registry.looked = None if failures else seen
    unpublishable = {each.binding for each in lost}
    published = [each for each in moved.come if each not in unpublishable]
    return Followed(moved.gone, tuple(published), tuple(lost), failures)


def _unpublish(registry: Registry, bindings: Sequence[PortBinding]) -> tuple[HostportsError, ...]:
    """What was left behind. Raises `StoreFailed`, and changes nothing."""
    try:
        if bindings:
            registry.release(bindings)
    except ReleaseFailed as failure:
        return (failure,)
    return ()


def _publish(registry: Registry, bindings: Sequence[PortBinding]) -> list[Lost]:
    """Record what is wanted, and publish what can be had of it; the rest."""
    if not bindings:
        return []
    resources, now = registry.engine.resources, registry.edges.clock.now()
    with UndoStack() as undo:
        resources.record(added=bindings, at=now)
        undo.push(partial(_forget_unpublished, resources, bindings))
        lost = registry.restore(dict.fromkeys(bindings, now))
    resources.forget_flows(bindings)
    return lost


def _forget_unpublished(resources: Resources, bindings: Sequence[PortBinding]) -> None:
    """Want no longer what did not come; it is wanted again at the next look."""
    resources.record(removed=resources.published.without(bindings))

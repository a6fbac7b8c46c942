"""Publish on the addresses that followed interfaces have now, and on no others of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hostports.core.following import moves
from hostports.engine.registry import Registry
from hostports.engine.resources import Resources
from hostports.engine.restore import Lost
from hostports.engine.undo import UndoStack
from hostports.errors import ReleaseFailed
from hostports.model.port import PortBinding


@dataclass(frozen=True, slots=True)
class Followed:
    """Which bindings went and came; what came and can't be had is `lost`, and stays wanted.

    `failure` is what was left behind of those that went.
    """

    unpublished: Sequence[PortBinding] = ()
    published: Sequence[PortBinding] = ()
    lost: Sequence[Lost] = ()
    failure: ReleaseFailed | None = None


def follow(registry: Registry) -> Followed:
    """See which addresses the followed interfaces have; cheap where none is followed.

    All that goes is unpublished before anything is published. Raises `LinkFailed`, `NotPermitted`,
    `StoreFailed`, `FirewallFailed` or `RelayFailed`; then the next look does what is left to do.
    """
    followings = registry.followings()
    if not followings:
        return Followed()
    around = registry.engine.resources.circumstances({each.interface for each in followings})
    endpoints = {each.name: each for each in registry.endpoints()}
    there = [*registry.engine.published(), *(each.binding for each in registry.lost)]
    moved = moves(followings, endpoints, there, around)
    failure = _unpublish(registry, moved.gone)
    lost = _publish(registry, moved.come)
    unpublishable = {each.binding for each in lost}
    published = [each for each in moved.come if each not in unpublishable]
    return Followed(moved.gone, published, lost, failure)


def _unpublish(registry: Registry, bindings: Sequence[PortBinding]) -> ReleaseFailed | None:
    try:
        if bindings:
            registry.release(bindings)
    except ReleaseFailed as failure:
        return failure
    return None


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

"""What is wanted against what is there: what has to be done, so that they are one again."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding
from hostports.model.relay import HeldBinding
from hostports.model.state import State


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there: interfaces and attached endpoints by their names, and what the relay holds."""

    interfaces: Set[str] = frozenset()
    attached: Set[str] = frozenset()
    held: tuple[HeldBinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Actions:
    """What has to be done, in this order; bindings are in that of their publication.

    `adopted` are served as they shall be, and nothing is done to them.
    """

    bridges: tuple[BridgeNetwork, ...] = ()
    cables: tuple[Endpoint, ...] = ()
    unwanted: tuple[PortBinding, ...] = ()
    adopted: Mapping[PortBinding, datetime] = field(default_factory=dict)
    missing: Mapping[PortBinding, datetime] = field(default_factory=dict)


def reconcile(wanted: State, there: Observed) -> Actions:
    """What to do about the difference.

    A binding that drains is on its way out: if it is wanted, it has to be published anew.
    """
    served = {each.binding for each in there.held if not each.draining}
    adopted = {each: at for each, at in wanted.bindings.items() if each in served or each.routed}
    return Actions(
        bridges=tuple(
            each for each in wanted.networks.values() if each.bridge not in there.interfaces
        ),
        cables=tuple(
            each
            for each in wanted.endpoints.values()
            if each.namespace and each.name not in there.attached
        ),
        unwanted=tuple(
            each.binding
            for each in there.held
            if not each.draining and each.binding not in wanted.bindings
        ),
        adopted=adopted,
        missing={each: at for each, at in wanted.bindings.items() if each not in adopted},
    )

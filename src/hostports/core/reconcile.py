"""What is wanted against what is there: what has to be done, so that they are one again."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, SocketAddress
from hostports.model.relay import HeldBinding
from hostports.model.state import State


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there: interfaces and attached endpoints by their names, and what the relay holds.

    `forwardings` are those of RootlessKit, parent to child; None where it isn't used.
    """

    interfaces: Set[str] = frozenset()
    attached: Set[str] = frozenset()
    held: tuple[HeldBinding, ...] = ()
    forwardings: Mapping[SocketAddress, SocketAddress] | None = None

    def leads_to(self, binding: PortBinding) -> bool:
        """Whether clients come to where a binding's socket is."""
        if self.forwardings is None or binding.child is None:
            return self.forwardings is None and binding.child is None
        return self.forwardings.get(binding.host_socket) == binding.child


@dataclass(frozen=True, slots=True)
class Actions:
    """What has to be done, in this order; bindings are in that of their publication.

    `stray` are forwardings that RootlessKit, and `unwanted` are bindings that the relay is to give
    up, also to publish them anew. `adopted` are served as they shall be, and nothing is done to
    them.
    """

    bridges: tuple[BridgeNetwork, ...] = ()
    cables: tuple[Endpoint, ...] = ()
    stray: tuple[SocketAddress, ...] = ()
    unwanted: tuple[PortBinding, ...] = ()
    adopted: Mapping[PortBinding, datetime] = field(default_factory=dict)
    missing: Mapping[PortBinding, datetime] = field(default_factory=dict)


def reconcile(wanted: State, there: Observed) -> Actions:
    """What to do about the difference.

    A binding that drains is on its way out: if it is wanted, it has to be published anew.
    """
    held = [each.binding for each in there.held if not each.draining]
    served = set(filter(there.leads_to, held))
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
        stray=_stray(there, adopted),
        unwanted=tuple(each for each in held if each not in adopted),
        adopted=adopted,
        missing={each: at for each, at in wanted.bindings.items() if each not in adopted},
    )


def _stray(there: Observed, adopted: Iterable[PortBinding]) -> tuple[SocketAddress, ...]:
    """The parents of forwardings that lead to nothing that is adopted."""
    needed = {each.host_socket for each in adopted}
    return tuple(each for each in there.forwardings or () if each not in needed)

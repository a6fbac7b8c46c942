"""The fake of `StateStore`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hostports.errors import StoreFailed
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, Protocol
from hostports.model.state import Recorded, State
from hostports.testing.faults import Faults


class FakeStore:
    """A record in memory; fails on ``store.load`` and ``store.record``.

    What it holds stays for the next engine that is given it, as a file would.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._state = State()
        self._former: dict[tuple[str, Protocol, int], int] = {}

    def load(self) -> State:
        """What was recorded until now."""
        if self._faults.due("store.load"):
            raise StoreFailed("injected: the record can't be read")
        return self._state

    def record(
        self,
        added: Sequence[Recorded] = (),
        removed: Sequence[Recorded] = (),
        *,
        at: datetime,
    ) -> None:
        """Remove and add, or fail and do neither."""
        if self._faults.due("store.record"):
            raise StoreFailed("injected: the record can't be written")
        draft = _Draft.of(self._state)
        draft.remove(removed)
        draft.add(added, at.astimezone(UTC))
        self._state = State(
            draft.networks, draft.endpoints, draft.bindings, tuple(draft.followings)
        )
        for each in removed:
            if isinstance(each, PortBinding) and not each.routed:
                self._former[each.endpoint, each.protocol, each.container_port] = each.host_port

    def former(self, endpoint: str) -> dict[tuple[Protocol, int], int]:
        """All that an endpoint ever had, the last of each container port."""
        return {key[1:]: port for key, port in self._former.items() if key[0] == endpoint}

    def dump(self) -> list[str]:
        """Networks, endpoints, bindings, then followings, each in the order of their coming."""
        state = self._state
        return [
            *(f"network {name}" for name in state.networks),
            *(f"endpoint {each.name} on {each.network.name}" for each in state.endpoints.values()),
            *(f"binding {each} of {each.endpoint}" for each in state.bindings),
            *(f"following {each} of {each.endpoint}" for each in state.followings),
        ]


@dataclass(slots=True)
class _Draft:
    """What becomes the record, if nothing goes wrong."""

    networks: dict[str, BridgeNetwork] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    bindings: dict[PortBinding, datetime] = field(default_factory=dict)
    followings: dict[Following, None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: State) -> "_Draft":
        followings = dict.fromkeys(state.followings)
        return cls(dict(state.networks), dict(state.endpoints), dict(state.bindings), followings)

    def remove(self, items: Sequence[Recorded]) -> None:
        """Take items out, and what belongs to them."""
        for item in items:
            match item:
                case BridgeNetwork(name):
                    self.networks.pop(name, None)
                case Endpoint(name):
                    self.endpoints.pop(name, None)
                case PortBinding():
                    self.bindings.pop(item, None)
                case Following():
                    self.followings.pop(item, None)
        self.endpoints = {
            name: each
            for name, each in self.endpoints.items()
            if each.network.name in self.networks
        }
        for binding in [each for each in self.bindings if each.endpoint not in self.endpoints]:
            del self.bindings[binding]
        for following in [each for each in self.followings if each.endpoint not in self.endpoints]:
            del self.followings[following]

    def add(self, items: Sequence[Recorded], at: datetime) -> None:
        """Put in what isn't there; whatever the order, networks come first."""
        for network in items:
            if isinstance(network, BridgeNetwork):
                self.networks.setdefault(network.name, network)
        for endpoint in items:
            if isinstance(endpoint, Endpoint) and endpoint.name not in self.endpoints:
                self.endpoints[endpoint.name] = self._on_recorded_network(endpoint)
        for binding in items:
            if isinstance(binding, PortBinding) and binding not in self.bindings:
                self._refuse_orphan(binding)
                self.bindings[binding] = at
        for following in items:
            if isinstance(following, Following):
                if following.endpoint not in self.endpoints:
                    raise StoreFailed(f"{following} has no endpoint", "add that first")
                self.followings.setdefault(following)

    def _on_recorded_network(self, endpoint: Endpoint) -> Endpoint:
        network = self.networks.get(endpoint.network.name)
        if network is None:
            raise StoreFailed(f"endpoint {endpoint.name!r} has no network", "add that first")
        return replace(endpoint, network=network)

    def _refuse_orphan(self, binding: PortBinding) -> None:
        endpoint = self.endpoints.get(binding.endpoint)
        if endpoint is None or endpoint.network.name != binding.network:
            raise StoreFailed(f"{binding} has no endpoint", "add that first")

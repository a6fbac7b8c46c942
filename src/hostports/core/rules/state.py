"""Which elements and chains the table holds, and what a change makes of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from hostports.core.rules.data import Chain, Element, Fragment, Settings
from hostports.core.rules.items import of_binding, of_endpoint, of_network
from hostports.core.rules.settings import networks_of
from hostports.core.rules.skeleton import LEADING, USER_CHAIN, chains, collections
from hostports.errors import FirewallFailed
from hostports.model.firewall import FirewallChange, FirewallItem
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding

#: Networks, endpoints and bindings that are made anew in the time of a blink.
_MANY: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delta:
    """What one transaction has to change, removals first."""

    removed: tuple[Element, ...] = ()
    added: tuple[Element, ...] = ()
    removed_chains: tuple[str, ...] = ()
    written_chains: tuple[Chain, ...] = ()
    closed: Mapping[FirewallItem, Fragment] = field(default_factory=dict)
    opened: Mapping[FirewallItem, Fragment] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether the table stays as it is."""
        return not (self.removed or self.added or self.removed_chains or self.written_chains)


class Items(NamedTuple):
    """What a network, an endpoint and a binding add, in the words of one backend.

    `static` is how many rules and elements each chain and collection has that is always there.
    """

    of_network: Callable[[BridgeNetwork, Settings], Fragment]
    of_endpoint: Callable[[Endpoint, Settings], Fragment]
    of_binding: Callable[[PortBinding, BridgeNetwork, Settings], Fragment]
    static: Callable[[Settings], Mapping[str, int]]


def _static(settings: Settings) -> Mapping[str, int]:
    rules = {each.name: len(each.rules) for each in chains(settings) if each.name != USER_CHAIN}
    return rules | dict.fromkeys((each.name for each in collections()), 0)


NFT_ITEMS: Final = Items(of_network, of_endpoint, of_binding, _static)


class RulesState:
    """What is open, and how many of it need each element and chain: the last one takes it along.

    What an item adds is worked out anew when it is closed: to remember it for 60,000 bindings
    would take more memory than all the rest.
    """

    def __init__(self, settings: Settings, items: Items = NFT_ITEMS) -> None:
        self.settings = settings
        self._items = items
        # With the network that a binding was opened in, which may be gone before it.
        self._open: dict[FirewallItem, BridgeNetwork | None] = {}
        self._networks: dict[str, BridgeNetwork] = {}
        self._users: Counter[Element] = Counter()
        self._chain_users: Counter[str] = Counter()
        self._chains: dict[str, Chain] = {}
        self._sizes: Counter[str] = Counter()

    @classmethod
    def holding(
        cls, opened: Iterable[FirewallItem], settings: Settings, items: Items = NFT_ITEMS
    ) -> "RulesState":
        """A state in which these are open from the beginning. Raises as `planned` does."""
        state = cls(settings, items)
        state.commit(state.planned(FirewallChange(opened=tuple(opened))))
        return state

    def under(self, settings: Settings) -> "RulesState":
        """The same, by other settings; the guard stays as it is."""
        guarded = replace(settings, guard=self.settings.guard)
        return RulesState.holding(self.items(), guarded, self._items)

    def planned(self, change: FirewallChange) -> Delta:
        """What a change does to the table; nothing happens yet.

        Raises `FirewallFailed` for a network without a bridge, or a binding of an unknown network.
        """
        closed = {
            item: self._fragment(item, self._open[item])
            for item in change.closed
            if item in self._open
        }
        networks = self._networks | {each.name: each for each in networks_of(change.opened)}
        opened = {
            item: self._fragment(item, _network_of(item, networks))
            for item in change.opened
            if item not in self._open or item in closed
        }
        elements = _moved(_elements(closed), _elements(opened))
        own = _moved(_own(closed), _own(opened))
        chains = _moved(_chain_names(closed), _chain_names(opened))
        return Delta(
            removed=(
                *_gone(elements, self._users),
                *(each for each, by in own.items() if by < 0),
            ),
            added=(
                *(each for each, by in elements.items() if by > 0 and not self._users[each]),
                *(each for each, by in own.items() if by > 0),
            ),
            removed_chains=tuple(_gone(chains, self._chain_users)),
            written_chains=tuple(self._unwritten(opened)),
            closed=closed,
            opened=opened,
        )

    def commit(self, delta: Delta) -> None:
        """Remember that a delta has been made."""
        self._users.subtract(_elements(delta.closed))
        self._users.update(_elements(delta.opened))
        self._chain_users.subtract(_chain_names(delta.closed))
        self._chain_users.update(_chain_names(delta.opened))
        self._chains.update((chain.name, chain) for chain in delta.written_chains)
        for item in delta.closed:
            del self._open[item]
        for network in networks_of(delta.closed):
            del self._networks[network.name]
        self._networks.update((each.name, each) for each in networks_of(delta.opened))
        self._open.update((each, _network_of(each, self._networks)) for each in delta.opened)
        for element in delta.removed:
            del self._users[element]
        for name in delta.removed_chains:
            del self._chain_users[name], self._chains[name]
        self._sizes.subtract(Counter(each.collection for each in delta.removed))
        self._sizes.update(Counter(each.collection for each in delta.added))

    def sizes(self) -> dict[str, int]:
        """How many rules each chain must have, and how many elements each collection."""
        rules = {each.name: len(each.rules) for each in self._chains.values()}
        made = {**self._items.static(self.settings), **rules}
        return {name: size + self._sizes[name] for name, size in made.items()}

    def whole(self) -> Delta:
        """All that the table must hold besides the skeleton."""
        fragments = {item: self._fragment(item, of) for item, of in self._open.items()}
        return Delta(
            added=(*self._users, *_own(fragments)), written_chains=tuple(self._chains.values())
        )

    def protections(self) -> Delta:
        """What forbids, and networks; without what leads to ports, which may be thousands."""
        checked: dict[FirewallItem, Fragment] = {
            item: self._fragment(item, of)
            for item, of in self._open.items()
            if isinstance(item, PortBinding) and (item.allow_from or item.host_ip.is_loopback)
        }
        elements = (*self._users, *_own(checked))
        return Delta(
            added=tuple(each for each in elements if each.collection not in LEADING),
            written_chains=tuple(self._chains.values()),
        )

    @property
    def many(self) -> bool:
        """Whether so many ports are open that all of the table takes its time."""
        return len(self._open) > _MANY

    def items(self) -> list[FirewallItem]:
        """What is open."""
        return list(self._open)

    def _unwritten(self, opened: Mapping[FirewallItem, Fragment]) -> Iterable[Chain]:
        """The chains of what is opened that aren't there, or are there with other rules."""
        chains = {chain.name: chain for each in opened.values() for chain in each.chains}
        return (each for name, each in chains.items() if self._chains.get(name) != each)

    def _fragment(self, item: FirewallItem, network: BridgeNetwork | None) -> Fragment:
        if isinstance(item, BridgeNetwork):
            return self._items.of_network(item, self.settings)
        if isinstance(item, Endpoint):
            return self._items.of_endpoint(item, self.settings)
        return self._items.of_binding(item, network, self.settings) if network else Fragment()


def _network_of(item: FirewallItem, networks: Mapping[str, BridgeNetwork]) -> BridgeNetwork | None:
    """The network that a binding is of; None for what is no binding."""
    if isinstance(item, BridgeNetwork) and not item.bridge:
        raise FirewallFailed(f"network {item.name!r} has no bridge", "name its bridge")
    if isinstance(item, BridgeNetwork | Endpoint):
        return None
    if item.network not in networks:
        raise FirewallFailed(
            f"network {item.network!r} is not in the firewall", "add the network before its ports"
        )
    return networks[item.network]


def _elements(fragments: Mapping[FirewallItem, Fragment]) -> Iterable[Element]:
    return (element for each in fragments.values() for element in each.elements)


def _own(fragments: Mapping[FirewallItem, Fragment]) -> Iterable[Element]:
    return (element for each in fragments.values() for element in each.own)


def _chain_names(fragments: Mapping[FirewallItem, Fragment]) -> Iterable[str]:
    return (chain.name for each in fragments.values() for chain in each.chains)


def _moved(down: Iterable[T], up: Iterable[T]) -> Counter[T]:
    """By how much the number of users of each changes."""
    moved = Counter(up)
    moved.subtract(Counter(down))
    return moved


def _gone(moved: Counter[T], users: Counter[T]) -> Iterable[T]:
    return (each for each, by in moved.items() if by < 0 and users[each] + by == 0)

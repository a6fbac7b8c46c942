"""Which elements and chains the table holds, and what a change makes of them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from hostports.core.rules.data import Chain, Element, Fragment, Settings
from hostports.core.rules.items import of_binding, of_endpoint, of_network
from hostports.core.rules.settings import networks_of
from hostports.core.rules.skeleton import LEADING, USER_CHAIN, chains, collections
from hostports.errors import FirewallFailed
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding

#: Networks, endpoints and bindings that are made anew in the time of a blink.
_MANY: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delta:
    """What one transaction has to change, removals first.

    `opened` has the network of each binding. `users` and `chain_users` are by how much the numbers
    of those who need something change.
    """

    removed: tuple[Element, ...] = ()
    added: tuple[Element, ...] = ()
    removed_chains: tuple[str, ...] = ()
    written_chains: tuple[Chain, ...] = ()
    closed: Collection[FirewallItem] = ()
    opened: Mapping[FirewallItem, BridgeNetwork | None] = field(default_factory=dict)
    users: Counter[Element] = field(default_factory=Counter)
    chain_users: Counter[str] = field(default_factory=Counter)

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

    def guarding(self, families: frozenset[Family]) -> "RulesState":
        """The same with a guard of these."""
        guarding = replace(self.settings, guard=families)
        return RulesState.holding(self.items(), guarding, self._items)

    def planned(self, change: FirewallChange) -> Delta:
        """What a change does to the table; nothing happens yet.

        Raises `FirewallFailed` for a network without a bridge, or a binding of an unknown network.
        """
        networks = self._networks | {each.name: each for each in networks_of(change.opened)}
        closed = dict.fromkeys(each for each in change.closed if each in self._open)
        opened = {
            each: _network_of(each, networks)
            for each in change.opened
            if each not in self._open or each in closed
        }
        down = _Sum(self._fragment(each, self._open[each]) for each in closed)
        up = _Sum(self._fragment(each, of) for each, of in opened.items())
        users, chain_users = up.users, up.chain_users
        users.subtract(down.users)
        chain_users.subtract(down.chain_users)
        return Delta(
            removed=(*_gone(users, self._users), *_without(down.own, up.own)),
            added=(
                *(each for each, by in users.items() if by > 0 and not self._users[each]),
                *_without(up.own, down.own),
            ),
            removed_chains=tuple(_gone(chain_users, self._chain_users)),
            written_chains=tuple(self._unwritten(up.chains)),
            closed=closed,
            opened=opened,
            users=users,
            chain_users=chain_users,
        )

    def commit(self, delta: Delta) -> None:
        """Remember that a delta has been made."""
        self._users.update(delta.users)
        self._chain_users.update(delta.chain_users)
        self._chains.update((chain.name, chain) for chain in delta.written_chains)
        for item in delta.closed:
            del self._open[item]
        for network in networks_of(delta.closed):
            del self._networks[network.name]
        self._networks.update((each.name, each) for each in networks_of(delta.opened))
        self._open.update(delta.opened)
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
        own = _own(self._fragment(item, of) for item, of in self._open.items())
        return Delta(added=(*self._users, *own), written_chains=tuple(self._chains.values()))

    def protections(self) -> Delta:
        """What forbids, and networks; without what leads to ports, which may be thousands."""
        checked = (
            self._fragment(item, of)
            for item, of in self._open.items()
            if isinstance(item, PortBinding) and (item.allow_from or item.socket.ip.is_loopback)
        )
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

    def _unwritten(self, chains: Mapping[str, Chain]) -> Iterable[Chain]:
        """Those that aren't there, or are there with other rules."""
        return (each for name, each in chains.items() if self._chains.get(name) != each)

    def _fragment(self, item: FirewallItem, network: BridgeNetwork | None) -> Fragment:
        if isinstance(item, BridgeNetwork):
            return self._items.of_network(item, self.settings)
        if isinstance(item, Endpoint):
            return self._items.of_endpoint(item, self.settings)
        return self._items.of_binding(item, network, self.settings) if network else Fragment()


class _Sum:
    """What fragments come to; they themselves, which are thousands, are not kept."""

    def __init__(self, fragments: Iterable[Fragment]) -> None:
        self.users: Counter[Element] = Counter()
        self.own: list[Element] = []
        self.chain_users: Counter[str] = Counter()
        self.chains: dict[str, Chain] = {}
        for each in fragments:
            for element in each.elements:
                self.users[element] += 1
            self.own += each.own
            for chain in each.chains:
                self.chain_users[chain.name] += 1
                self.chains[chain.name] = chain


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


def _own(fragments: Iterable[Fragment]) -> Iterable[Element]:
    return (element for each in fragments for element in each.own)


def _without(some: Iterable[Element], others: Iterable[Element]) -> Iterable[Element]:
    known = frozenset(others)
    return (each for each in some if each not in known)


def _gone(moved: Counter[T], users: Counter[T]) -> Iterable[T]:
    return (each for each, by in moved.items() if by < 0 and users[each] + by == 0)

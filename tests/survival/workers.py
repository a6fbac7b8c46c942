"""Programs that use the API at random, each with a network of its own, and know what must be there.

What was answered is done. What was not, because the daemon was killed, is done or not: for each
operation there is a chain of states in which it may have ended.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from itertools import count, permutations
from random import Random
from threading import Event
from typing import Final, NamedTuple, TypeAlias

from hostports import Client
from hostports.client.errors import ApiError, BadAnswer, DaemonUnreachable

#: Each worker has so many blocks of so many host ports of its own.
_BLOCKS, _BLOCK = 20, 5
_FIRST_PORT: Final = 20_000
#: What a client sees of a daemon that is killed.
_KILLED: Final = (DaemonUnreachable, BadAnswer)


class Fact(NamedTuple):
    """Something that is there: a network, an endpoint of it, or a container port of that."""

    network: str
    endpoint: str = ""
    protocol: str = ""
    container_port: int = 0


Facts: TypeAlias = frozenset[Fact]


class Spec(NamedTuple):
    """A port spec, and the block of host ports that it takes, -1 for a dynamic port."""

    text: str
    block: int


class Operation(NamedTuple):
    """A call of the API, and the states in which it may be interrupted, the last being its end.

    If the relay is dead, a publish leaves nothing, and all else is done nevertheless.
    """

    call: Callable[[], object]
    states: tuple[Facts, ...]
    undone: bool = False


@dataclass
class Worker:
    """One of the programs; `number` tells them apart."""

    number: int
    client: Client
    namespaces: tuple[str, ...]
    modes: tuple[str, ...]
    random: Random
    facts: Facts = frozenset()
    answered: int = 0
    pending: tuple[Facts, ...] = ()
    _specs: dict[Fact, Spec] = field(default_factory=dict)
    _container_ports: Iterator[int] = field(default_factory=lambda: count(1000, _BLOCK))

    @property
    def network(self) -> str:
        return f"net{self.number}"

    def work(self, enough: Event) -> None:
        """Do one thing after the other until it is enough, or the daemon or relay is killed."""
        while not enough.is_set():
            operation = self._next()
            self.pending = (self.facts, *operation.states)
            try:
                operation.call()
            except _KILLED:
                return
            except ApiError as error:
                if "relay" not in error.message:
                    raise
                self.pending = (self.facts if operation.undone else operation.states[-1],)
                return
            self.facts, self.pending = operation.states[-1], ()
            self.answered += 1

    def settle(self, found: Set[Fact]) -> None:
        """See that what is there is what must be, and go on from there."""
        mine = frozenset(each for each in found if each.network == self.network)
        allowed = self.pending or (self.facts,)
        assert mine in allowed, (
            f"{self.network}: missing {set(allowed[-1] - mine)}, "
            f"too much {set(mine - allowed[0] - allowed[-1])}"
        )
        self.facts, self.pending = mine, ()

    def _next(self) -> Operation:
        endpoints = self._endpoints()
        if Fact(self.network) not in self.facts:
            return self._create_network()
        if not endpoints or (len(endpoints) < len(self.namespaces) and self._chance(0.4)):
            return self._add_endpoint()
        if self._chance(0.05):
            return self._remove_network()
        endpoint = self.random.choice(endpoints)
        if self._chance(0.1):
            return self._remove_endpoint(endpoint)
        published = self._published(endpoint)
        if published and self._chance(0.45):
            return self._unpublish(endpoint, published)
        return self._publish(endpoint)

    def _create_network(self) -> Operation:
        name = self.network
        return Operation(lambda: self.client.create_network(name), (frozenset({Fact(name)}),))

    def _remove_network(self) -> Operation:
        """Its endpoints go one after the other, whichever is the first."""
        states: list[Facts] = []
        for order in permutations(self._endpoints()):
            facts = self.facts
            for endpoint in order:
                states += self._without(facts, endpoint)
                facts = states[-1]
        return Operation(
            lambda: self.client.remove_network(self.network, force=True), (*states, frozenset())
        )

    def _add_endpoint(self) -> Operation:
        missing = [each for each in self.namespaces if each not in self._endpoints()]
        name = self.random.choice(missing)
        return Operation(
            lambda: self.client.add_endpoint(self.network, name, netns=name),
            (self.facts | {Fact(self.network, name)},),
        )

    def _remove_endpoint(self, endpoint: str) -> Operation:
        return Operation(
            lambda: self.client.remove_endpoint(endpoint), self._without(self.facts, endpoint)
        )

    def _publish(self, endpoint: str) -> Operation:
        """An exact port, a range of them, a dynamic one, or several of these at once."""
        specs: dict[Fact, Spec] = {}
        for _ in range(self.random.choice((1, 1, 1, 3))):
            specs |= self._spec(endpoint, {each.block for each in specs.values()})
        self._specs |= specs
        texts = list(dict.fromkeys(each.text for each in specs.values()))
        mode = self.random.choice(self.modes)
        return Operation(
            lambda: self.client.publish(endpoint, texts, mode=mode),
            (self.facts | {*specs},),
            undone=True,
        )

    def _spec(self, endpoint: str, taken: Set[int]) -> dict[Fact, Spec]:
        """A spec, by the container ports that it is for; no container port is used twice."""
        taken = taken | {self._specs[each].block for each in self.facts if each.protocol}
        block = self.random.choice([each for each in range(_BLOCKS) if each not in taken] or [-1])
        protocol = self.random.choice(("tcp", "tcp", "udp"))
        host = _FIRST_PORT + (self.number * _BLOCKS + block) * _BLOCK
        first = next(self._container_ports)
        ports = range(first, first + self.random.choice((1, 1, _BLOCK)))
        facts = [Fact(self.network, endpoint, protocol, port) for port in ports]
        if block < 0 or self._chance(0.3):
            return {facts[0]: Spec(f"{first}/{protocol}", -1)}
        if len(ports) == 1:
            return {facts[0]: Spec(f"{host}:{first}/{protocol}", block)}
        text = f"{host}-{host + _BLOCK - 1}:{first}-{ports[-1]}/{protocol}"
        return dict.fromkeys(facts, Spec(text, block))

    def _unpublish(self, endpoint: str, published: list[Fact]) -> Operation:
        kill = self._chance(0.3)
        if self._chance(0.2):
            return Operation(
                lambda: self.client.unpublish(endpoint, kill=kill),
                (self.facts - frozenset(published),),
            )
        spec = self._specs[self.random.choice(published)]
        gone = {each for each in published if self._specs[each] == spec}
        return Operation(
            lambda: self.client.unpublish(endpoint, [spec.text], kill=kill), (self.facts - gone,)
        )

    def _without(self, facts: Facts, endpoint: str) -> tuple[Facts, Facts]:
        """Its ports go first, all at once."""
        ports = {each for each in facts if each.endpoint == endpoint and each.protocol}
        return facts - ports, facts - ports - {Fact(self.network, endpoint)}

    def _endpoints(self) -> list[str]:
        return [each.endpoint for each in sorted(self.facts) if each.endpoint and not each.protocol]

    def _published(self, endpoint: str) -> list[Fact]:
        return sorted(each for each in self.facts if each.endpoint == endpoint and each.protocol)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

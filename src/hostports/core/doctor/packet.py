"""A described packet: what rules can know of it at the hook where it is."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from hostports.core.doctor.ruleset import Value
from hostports.model.address import IPAddress

#: Connection tracking's priority at prerouting and output (linux/netfilter_ipv4.h).
_CONNTRACK: Final = -200
#: Fields that only packets of these families and protocols have.
_FAMILIES: Final = {"ip", "ip6"}
_PROTOCOLS: Final = {"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "esp", "ah", "comp"}


class Nothing(Enum):
    """Why there is no value: the packet doesn't have such a thing, or we can't tell."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


Told: TypeAlias = Value | bool | Nothing


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of one connection at one hook.

    `host` are the host's own addresses. `answer` says that it goes from the container or the relay
    back to the client, `settled` that NAT has seen its connection, `translated` that it was given
    another destination. `mark` None is one that a rule has set to what we don't know.
    """

    protocol: str
    source: IPAddress
    destination: IPAddress
    dport: int
    sport: int
    iif: str = ""
    oif: str = ""
    host: Set[IPAddress] = frozenset()
    answer: bool = False
    settled: bool = False
    translated: bool = False
    tracked: bool = True
    mark: int | None = 0
    original: tuple[IPAddress, int] | None = None
    hook: str = "prerouting"
    priority: int = 0

    @property
    def family(self) -> str:
        """As tables are called: ip or ip6."""
        return "ip" if self.destination.version == 4 else "ip6"

    def here(self, ip: IPAddress) -> bool:
        """Whether an address is one of the host's."""
        return ip.is_loopback or ip in self.host

    def value(self, key: str) -> Told:
        """What it has, by nft's words, as ``ip saddr`` or ``ct state``."""
        first, _, field = key.partition(" ")
        if first == "exthdr":
            return Nothing.ABSENT
        if first in _FAMILIES:
            return self._network(first, field)
        if first == "th" or first in _PROTOCOLS:
            return self._transport(first, field)
        found = _VALUES.get(key)
        return Nothing.UNKNOWN if found is None else found(self)

    def _network(self, family: str, field: str) -> Told:
        if family != self.family:
            return Nothing.ABSENT
        if field in ("protocol", "nexthdr"):
            return self.protocol
        known: Mapping[str, Told] = {"saddr": self.source, "daddr": self.destination}
        return known.get(field, Nothing.UNKNOWN)

    def _transport(self, protocol: str, field: str) -> Told:
        if protocol not in ("th", self.protocol):
            return Nothing.ABSENT
        if field == "flags" and self.protocol == "tcp":
            return frozenset({"syn", "ack"}) if self.answer else frozenset({"syn"})
        port = {"sport": self.sport, "dport": self.dport}.get(field)
        return Nothing.UNKNOWN if port is None else port

    def state(self) -> Told:
        """Conntrack's words; before it has seen the packet, that is none it knows."""
        if not self.tracked:
            return frozenset({"untracked"})
        if self._early():
            return frozenset({"invalid"})
        return frozenset({"established" if self.answer else "new"})

    def status(self) -> Told:
        """What has been done to its connection, as far as we know."""
        if not self.tracked or self._early():
            return Nothing.ABSENT
        seen = {"seen-reply", "confirmed"} if self.answer else set()
        return frozenset({*seen, *(["dnat"] if self.translated else [])})

    def states(self) -> Told:
        """The same two, as iptables has them in one."""
        state, status = self.state(), self.status()
        both = [each for each in (state, status) if isinstance(each, frozenset)]
        return frozenset[str]().union(*both)

    def original_of(self, version: int | None) -> Told:
        """What the client wrote to; for rules of one IP version, or for its port (None)."""
        if not self.tracked or self._early():
            return Nothing.ABSENT
        if self.original is None:
            return Nothing.UNKNOWN
        ip, port = self.original
        if version is None:
            return port
        return ip if ip.version == version else Nothing.ABSENT

    def type_of(self, ip: IPAddress) -> str:
        """What a routing table says of an address."""
        if ip.is_multicast:
            return "multicast"
        return "local" if self.here(ip) else "unicast"

    def _early(self) -> bool:
        return self.hook in ("ingress", "prerouting", "output") and self.priority < _CONNTRACK


_VALUES: Final[Mapping[str, Callable[[Packet], Told]]] = {
    "meta iifname": lambda packet: packet.iif,
    "meta iif": lambda packet: packet.iif or Nothing.ABSENT,
    "meta oifname": lambda packet: packet.oif,
    "meta oif": lambda packet: packet.oif or Nothing.ABSENT,
    "meta nfproto": lambda packet: f"ipv{packet.destination.version}",
    "meta protocol": lambda packet: packet.family,
    "meta l4proto": lambda packet: packet.protocol,
    "meta pkttype": lambda _: "host",
    "meta mark": lambda packet: Nothing.UNKNOWN if packet.mark is None else packet.mark,
    "ct state": Packet.state,
    "ct status": Packet.status,
    "ct states": Packet.states,
    "ct direction": lambda packet: "reply" if packet.answer else "original",
    "ct original ip daddr": lambda packet: packet.original_of(4),
    "ct original ip6 daddr": lambda packet: packet.original_of(6),
    "ct original proto-dst": lambda packet: packet.original_of(None),
    "fib daddr type": lambda packet: packet.type_of(packet.destination),
    "fib daddr,iif type": lambda packet: packet.type_of(packet.destination),
    "fib saddr type": lambda packet: packet.type_of(packet.source),
    # The source is where the packet came from: that is what it was described by.
    "fib saddr,iif oif": lambda _: True,
    "fib saddr,mark,iif oif": lambda _: True,
}

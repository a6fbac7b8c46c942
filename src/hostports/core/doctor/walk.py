"""A packet's way through chains, as the kernel goes it (nft(8), iptables(8)).

A rule that may hold leads both ways at once: what it would do is noted as a doubt, and the walk
goes on as if it did not hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from hostports.core.doctor.matching import Truth, holds, taken
from hostports.core.doctor.packet import Packet
from hostports.core.doctor.ruleset import (
    Act,
    Branch,
    Chain,
    Match,
    Rule,
    Ruleset,
    Step,
    Table,
    Tool,
    Unknown,
    Verdict,
)

_FATAL: Final = (Act.DROP, Act.REJECT)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something became of a packet: `base` is the chain that the kernel called.

    `rule` None is a base chain's policy.
    """

    table: Table
    base: Chain
    chain: Chain
    rule: Rule | None
    act: Act

    def __str__(self) -> str:
        """As a user looks for it."""
        word = f"rule `{self.rule.text}`" if self.rule else f"its policy {self._policy}"
        return f"table {self.table}, chain {self.chain.name}, {word}"

    @property
    def _policy(self) -> str:
        return "drop" if self.table.tool is Tool.NFT else "DROP"


@dataclass(frozen=True, slots=True)
class Passage:
    """How a packet comes through some hooks: as what, where it ends, and what may become of it.

    `led` is where it was given another destination.
    """

    packet: Packet
    stop: Place | None = None
    doubts: tuple[Place, ...] = ()
    led: Place | None = None


class _Way(Enum):
    """How a chain goes on after a rule."""

    ON = "on"
    BACK = "back"
    ON_IN_DOUBT = "on in doubt"
    GONE = "whoever came here went no further"


def through(ruleset: Ruleset, packet: Packet, hook: str) -> Passage:
    """Lead a packet through all chains at a hook, to its first certain end.

    Chains for NAT see connections, not their later packets; the first one that gives a connection
    another destination is the only one.
    """
    doubts: list[Place] = []
    led: Place | None = None
    for table, base in ruleset.at(hook, packet.family):
        if not _seen(table, base, packet) or (base.nat and led):
            continue
        walk = _Walk(table, base, replace(packet, hook=hook, priority=base.priority))
        end = walk.end()
        doubts += walk.doubts()
        packet = walk.packet
        if end and end.act in _FATAL and not walk.may_pass:
            return Passage(packet, end, tuple(doubts), led)
        if end and end.act is Act.TRANSLATE:
            led = end
    return Passage(packet, None, tuple(doubts), led)


def _seen(table: Table, base: Chain, packet: Packet) -> bool:
    """Whether a chain for one device, or for connections that begin, sees a packet at all."""
    if base.nat and (packet.settled or not packet.tracked):
        return False
    if table.family == "netdev" or base.hook in ("ingress", "egress"):
        device = packet.iif if base.hook == "ingress" else packet.oif
        return base.device in ("", device)
    return True


@dataclass(slots=True)
class _Walk:
    """One packet in one base chain."""

    table: Table
    base: Chain
    packet: Packet
    may_pass: list[Place] = field(default_factory=list)
    may_end: list[Place] = field(default_factory=list)
    ended: Place | None = None

    def end(self) -> Place | None:
        """Where its walk through this chain ends for certain; None if it goes on."""
        end = self._chain(self.base, sure=True)
        self.ended = end if isinstance(end, Place) else None
        if self.ended is None and self.base.policy is Act.DROP:
            self.ended = Place(self.table, self.base, self.base, None, Act.DROP)
        return self.ended

    def doubts(self) -> list[Place]:
        """What may have ended it, or led it elsewhere; also a sure end that it may have escaped."""
        escaped = [self.ended] if self.ended and self.ended.act in _FATAL and self.may_pass else []
        return [*self.may_end, *escaped]

    def _chain(self, chain: Chain, *, sure: bool) -> Place | _Way:
        """Go through a chain, to an end that is certain, for all or for whoever is here at all."""
        some_left = False
        for rule in chain.rules:
            way = self._rule(chain, rule, sure=sure and not some_left)
            if isinstance(way, Place) or way is _Way.BACK:
                return way
            if way is _Way.GONE:
                return _Way.BACK if some_left else way
            some_left |= way is _Way.ON_IN_DOUBT
        return _Way.BACK

    def _rule(self, chain: Chain, rule: Rule, *, sure: bool) -> Place | _Way:
        """What a rule does; `sure` is whether the packet comes to it for certain."""
        holding = Truth.YES
        for step in rule.steps:
            for truth, verdict in self._asked(step):
                if truth is Truth.NO:
                    return _Way.ON
                if truth is Truth.MAYBE:
                    holding = Truth.MAYBE
                if verdict:
                    place = Place(self.table, self.base, chain, rule, verdict.act)
                    way = self._act(place, verdict, certain=holding is Truth.YES, sure=sure)
                    if way is not _Way.ON:
                        return way
        return _Way.ON

    def _asked(self, step: Step) -> Iterator[tuple[Truth, Verdict | None]]:
        match step:
            case Match():
                yield holds(step, self.packet), None
            case Unknown():
                yield Truth.MAYBE, None
            case Branch():
                truth, verdicts = taken(step, self.packet)
                yield from ((truth, each) for each in verdicts)
                if not verdicts:
                    yield Truth.NO, None
            case Verdict():
                yield Truth.YES, step

    def _act(self, place: Place, verdict: Verdict, *, certain: bool, sure: bool) -> Place | _Way:
        if verdict.act in (Act.JUMP, Act.GOTO):
            return self._jump(verdict, certain=certain, sure=sure)
        if verdict.act is Act.RETURN:
            return _Way.BACK if certain else _Way.ON_IN_DOUBT
        if verdict.act in (Act.MARK, Act.UNTRACK, Act.HAND_OVER, Act.NOTHING):
            self._change(place, verdict, sure=certain and sure)
            return _Way.ON
        if certain and sure:
            if verdict.act is Act.TRANSLATE:
                self._translate(verdict)
            return place
        (self.may_pass if verdict.act is Act.ACCEPT else self.may_end).append(place)
        return _Way.GONE if certain else _Way.ON

    def _jump(self, verdict: Verdict, *, certain: bool, sure: bool) -> Place | _Way:
        end = self._chain(self.table.chains[verdict.chain], sure=certain and sure)
        if isinstance(end, Place) or (certain and end is _Way.GONE):
            return end
        if verdict.act is Act.GOTO and end is not _Way.GONE:
            return _Way.BACK if certain else _Way.ON_IN_DOUBT
        return _Way.ON

    def _change(self, place: Place, verdict: Verdict, *, sure: bool) -> None:
        if verdict.act is Act.MARK:
            self.packet = replace(self.packet, mark=verdict.mark if sure else None)
        elif verdict.act is Act.UNTRACK and sure:
            self.packet = replace(self.packet, tracked=False)
        elif verdict.act in (Act.UNTRACK, Act.HAND_OVER):
            self.may_end.append(place)

    def _translate(self, verdict: Verdict) -> None:
        """Give the connection another destination; without an address it is the host's own."""
        self.packet = replace(
            self.packet,
            destination=verdict.address or self.packet.destination,
            dport=verdict.port or self.packet.dport,
            translated=True,
        )


def along(ruleset: Ruleset, packet: Packet, hooks: Sequence[str]) -> Passage:
    """Lead a packet through several hooks, to its first certain end."""
    passage = Passage(packet)
    for hook in hooks:
        here = through(ruleset, passage.packet, hook)
        doubts = (*passage.doubts, *here.doubts)
        passage = Passage(here.packet, here.stop, doubts, here.led or passage.led)
        if here.stop:
            break
    return passage

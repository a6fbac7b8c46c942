"""A walk through rules that may hold says neither more nor less than all ways together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as some

from hostports.core.doctor.packet import Packet
from hostports.core.doctor.ruleset import (
    Act,
    Chain,
    Lookup,
    Match,
    Rule,
    Ruleset,
    Step,
    Table,
    Unknown,
    Verdict,
)
from hostports.core.doctor.walk import through

PACKET = Packet("tcp", ip_address("192.0.2.1"), ip_address("192.0.2.2"), 80, 5000)
HOLDS = Match(("th dport",), Lookup({(80,): None}))
FAILS = Match(("th dport",), Lookup({(81,): None}))
#: Each chain may jump to those after it only, so that no walk is endless.
CHAINS = ("base", "one", "two")


def conditions() -> some.SearchStrategy[Step]:
    """Conditions that hold, that don't, and that nobody knows."""
    return some.sampled_from([HOLDS, FAILS, *(Unknown(str(number)) for number in range(3))])


@some.composite
def rules(draw: some.DrawFn, chain: int) -> Rule:
    """A rule of a chain, given by its number."""
    plain = [Verdict(act) for act in (Act.ACCEPT, Act.DROP, Act.REJECT, Act.RETURN)]
    jumps = [Verdict(act, name) for name in CHAINS[chain + 1 :] for act in (Act.JUMP, Act.GOTO)]
    steps = draw(some.lists(conditions(), max_size=2))
    return Rule((*steps, draw(some.sampled_from(plain + jumps * 2))), "rule")


@some.composite
def tables(draw: some.DrawFn) -> Table:
    """A table with a chain at the forward hook, and others that it leads to."""
    made = Table("inet", "drawn")
    for number, name in enumerate(CHAINS):
        found = draw(some.lists(rules(number), max_size=4))
        hook = "forward" if number == 0 else ""
        policy = draw(some.sampled_from([Act.ACCEPT, Act.DROP]))
        made.chains[name] = Chain(name, hook, policy=policy, rules=found)
    return made


def resolved(table: Table, known: Mapping[str, bool]) -> Table:
    """The same table, where everybody knows what holds."""

    def step(each: Step) -> Step:
        if isinstance(each, Unknown):
            return HOLDS if known[each.what] else FAILS
        return each

    def chain(each: Chain) -> Chain:
        changed = [replace(rule, steps=tuple(map(step, rule.steps))) for rule in each.rules]
        return replace(each, rules=changed)

    return replace(table, chains={name: chain(each) for name, each in table.chains.items()})


def outcomes(table: Table) -> set[bool]:
    """Whether the packet is stopped, for all that may be."""
    return {
        _stops(resolved(table, {str(number): holds for number, holds in enumerate(known)}))
        for known in product((True, False), repeat=3)
    }


def _stops(table: Table) -> bool:
    """As the kernel decides, where nothing is unknown: by recursion over the rules."""
    verdict = _kernel(table, table.chains["base"])
    return (verdict or table.chains["base"].policy) is not Act.ACCEPT


def _kernel(table: Table, chain: Chain) -> Act | None:
    for rule in chain.rules:
        *steps, verdict = rule.steps
        assert isinstance(verdict, Verdict)
        if FAILS in steps:
            continue
        if verdict.act is Act.RETURN:
            return None
        if verdict.act in (Act.JUMP, Act.GOTO):
            inner = _kernel(table, table.chains[verdict.chain])
            if inner is not None or verdict.act is Act.GOTO:
                return inner
            continue
        return verdict.act
    return None


@settings(deadline=None)
@given(tables())
def test_what_is_certain_holds_whatever_the_unknown_is(table: Table) -> None:
    """A certain end is one in all worlds; without a doubt, no world has another end."""
    passage = through(Ruleset([table]), PACKET, "forward")
    ends = outcomes(table)
    if passage.stop is not None:
        assert ends == {True}
    elif not passage.doubts:
        assert ends == {False}
    else:
        assert True in ends or len(ends) == 1


@settings(deadline=None)
@given(tables())
def test_where_all_is_known_there_are_no_doubts(table: Table) -> None:
    known = resolved(table, {str(number): number % 2 == 0 for number in range(3)})
    passage = through(Ruleset([known]), PACKET, "forward")
    assert passage.doubts == ()
    assert (passage.stop is not None) == _stops(known)


@dataclass(frozen=True)
class Hooked:
    """Chains at one hook, by priority: what each does."""

    acts: Sequence[tuple[int, Act]]

    def ruleset(self) -> Ruleset:
        """A table for each."""
        return Ruleset(
            [
                Table("ip", f"t{number}", chains={"c": Chain("c", "forward", priority, act)})
                for number, (priority, act) in enumerate(self.acts)
            ]
        )


def test_chains_are_met_by_their_priority_and_each_must_let_through() -> None:
    ruleset = Hooked([(10, Act.DROP), (0, Act.ACCEPT), (5, Act.DROP)]).ruleset()
    stop = through(ruleset, PACKET, "forward").stop
    assert stop
    assert stop.table.name == "t2"


def test_tables_of_the_other_family_are_not_met() -> None:
    packet = replace(PACKET, source=ip_address("::1"), destination=ip_address("::2"))
    assert through(Hooked([(0, Act.DROP)]).ruleset(), packet, "forward").stop is None


def test_the_first_translation_is_the_only_one() -> None:
    def leading(to: str, priority: int) -> Table:
        verdict = Verdict(Act.TRANSLATE, address=ip_address(to), port=81)
        chain = Chain("c", "prerouting", priority, nat=True, rules=[Rule((verdict,), "dnat")])
        return Table("ip", f"to{to}", chains={"c": chain})

    ruleset = Ruleset([leading("10.0.0.2", -100), leading("10.0.0.1", -101)])
    passage = through(ruleset, PACKET, "prerouting")
    assert str(passage.packet.destination) == "10.0.0.1"
    assert passage.packet.translated
    answer = replace(PACKET, answer=True, settled=True)
    assert through(ruleset, answer, "prerouting").packet == answer

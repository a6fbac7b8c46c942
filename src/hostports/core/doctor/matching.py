"""Whether a rule's conditions hold for a packet: yes, no, or who knows."""

from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from hostports.core.doctor.packet import Nothing, Packet, Told
from hostports.core.doctor.ruleset import (
    Anything,
    Branch,
    Data,
    Lookup,
    Match,
    Pattern,
    Span,
    Stem,
)


class Truth(Enum):
    """What we know of a condition."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


def holds(test: Match, packet: Packet) -> Truth:
    """Whether a test holds; what a packet doesn't have makes it fail, negated or not."""
    told = [_masked(packet.value(each), test.mask) for each in test.key]
    if Nothing.ABSENT in told:
        return Truth.NO
    if len(told) == 1 and isinstance(told[0], frozenset) and not test.whole:
        found = _in_common(told[0], test.among)
    else:
        found, _ = find(test.among, told)
    return _NEGATED[found] if test.negated else found


def taken(branch: Branch, packet: Packet) -> tuple[Truth, list[Data]]:
    """Which branch a packet takes; where we can't tell, all that it may take."""
    told = [packet.value(each) for each in branch.key]
    if Nothing.ABSENT in told:
        return Truth.NO, []
    found, data = find(branch.among, told)
    return found, list(_all(branch.among)) if found is Truth.MAYBE else [data]


def find(among: Lookup, told: Sequence[Told]) -> tuple[Truth, Data]:
    """Whether, and with which data, a set or map holds what a packet has."""
    if Nothing.UNKNOWN in told:
        empty = among.known and not among.exact and not among.loose
        return (Truth.NO if empty else Truth.MAYBE), None
    key = tuple(map(_scalar, told))
    if key in among.exact:
        return Truth.YES, among.exact[key]
    for patterns, data in among.loose:
        if len(patterns) == len(told) and all(map(_like, told, patterns)):
            return Truth.YES, data
    return (Truth.NO if among.known else Truth.MAYBE), None


def _like(value: Told, pattern: Pattern) -> bool:
    match pattern:
        case Anything():
            return True
        case bool():
            return bool(value) is pattern
        case Stem(text):
            return isinstance(value, str) and value.startswith(text)
        case Span(first, last):
            return type(first) is type(value) and bool(first <= value <= last)  # type: ignore[operator]
        case IPv4Network() | IPv6Network():
            return not isinstance(value, str | int | frozenset | Nothing) and value in pattern
        case _:
            return _scalar(value) == _scalar(pattern)


def _in_common(words: frozenset[str], among: Lookup) -> Truth:
    """Of flags, one that is set will do."""
    for key in among.exact:
        if str(key[0]) in words:
            return Truth.YES
    return Truth.NO if among.known else Truth.MAYBE


def _masked(value: Told, mask: int | frozenset[str] | None) -> Told:
    if mask is None or isinstance(value, Nothing):
        return value
    if isinstance(value, int) and isinstance(mask, int):
        return value & mask
    if isinstance(value, frozenset) and isinstance(mask, frozenset):
        return value & mask
    return Nothing.UNKNOWN


def _scalar(value: object) -> str | int:
    """A value as the exact elements of a lookup are keyed by."""
    if isinstance(value, int):
        return value
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def _all(among: Lookup) -> Iterator[Data]:
    seen: list[Data] = []
    for data in [*among.exact.values(), *(each for _, each in among.loose)]:
        if data not in seen:
            seen.append(data)
    return iter(seen)


_NEGATED = {Truth.YES: Truth.NO, Truth.NO: Truth.YES, Truth.MAYBE: Truth.MAYBE}

"""How fast counters move: what two samples of them say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

#: What makes a published port the same one: published anew, it counts from zero.
_IDENTITY: Final = (
    *("endpoint", "proto", "host_ip", "host_port", "container_ip", "container_port"),
    *("allow_from", "created"),
)


class Counters(NamedTuple):
    """What has passed through a port since it was published."""

    packets: int
    bytes: int
    connections: int


class Rates(NamedTuple):
    """What passes through a port each second."""

    packets: float
    bytes: float
    connections: float


STILL: Final = Rates(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of all ports `at` one time (monotonic seconds), by their identities."""

    at: float
    counters: Mapping[str, Counters] = field(default_factory=dict)


def identity(binding: Mapping[str, Any]) -> str:
    """What tells a binding, as the API shows it, from all others, also from its former self."""
    return " ".join(str(binding[name]) for name in _IDENTITY)


def sample(at: float, bindings: Iterable[Mapping[str, Any]]) -> Sample:
    """A sample of bindings as the API shows them."""
    return Sample(at, {identity(each): _counters(each) for each in bindings})


def rates(before: Sample, after: Sample) -> dict[str, Rates]:
    """How fast each port of `after` has been since `before`.

    A port that is not in both has no past to compare with, and a counter that went back began anew
    meanwhile, as the relay's do when it is replaced: either is taken to stand still, rather than
    that all it ever counted passed at once.
    """
    seconds = after.at - before.at
    return {
        key: _between(before.counters.get(key, counters), counters, seconds)
        for key, counters in after.counters.items()
    }


def _counters(binding: Mapping[str, Any]) -> Counters:
    return Counters(*(binding[name] for name in Counters._fields))


def _between(before: Counters, after: Counters, seconds: float) -> Rates:
    if before == after or seconds <= 0:
        return STILL
    return Rates(*(max(0, b - a) / seconds for a, b in zip(before, after, strict=True)))

"""What viewers are told: all ports with their figures first, then whatever moves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from hostports.core.rates import Counters, Rates, Sample, identity, rates, sample

Json: TypeAlias = Mapping[str, Any]
#: The rates of a port, and what it has counted.
Figures: TypeAlias = tuple[float, ...]


class Board:
    """The latest sample, as lines of JSON for the page.

    A line ``{"ports": {ID: {...}}}`` replaces all ports. A line ``{"at": SECONDS, "figures": {ID:
    [packets, bytes and connections a second, and in all]}}`` follows for each sample: a port that
    it doesn't name stands still. ``{"trouble": TEXT}`` says why there is no sample.
    """

    def __init__(self) -> None:
        #: How many samples there were; 0 before the first.
        self.number = 0
        #: What is new to those who have seen all before.
        self.latest = b""
        self._sample: Sample = Sample(0.0)
        self._figures: dict[str, Figures] = {}
        self._ports: dict[str, Json] = {}
        self._trouble = b""

    def take(self, at: float, bindings: Sequence[Json]) -> None:
        """Take a sample: bindings as the API shows them, `at` a time in monotonic seconds."""
        ports = {identity(each): each for each in bindings}
        taken = sample(at, bindings)
        moved, before = rates(self._sample, taken), self._sample.counters
        same = ports.keys() == self._ports.keys()
        self._sample, self._ports, self._trouble = taken, ports, b""
        self._figures = {key: _figures(moved[key], taken.counters[key]) for key in ports}
        going = (key for key, each in taken.counters.items() if each != before.get(key))
        self._tell(self._line(going) if same and self.number else self.whole())

    def fail(self, trouble: str) -> None:
        """Say why there is no sample."""
        self._trouble = _spelt({"trouble": trouble})
        self._tell(self._trouble)

    def whole(self) -> bytes:
        """Everything, for those who have seen nothing or missed something."""
        shown = {
            key: {name: value for name, value in each.items() if name not in Counters._fields}
            for key, each in self._ports.items()
        }
        return _spelt({"ports": shown}) + self._line(self._ports) + self._trouble

    def _tell(self, lines: bytes) -> None:
        self.latest = lines
        self.number += 1

    def _line(self, keys: Iterable[str]) -> bytes:
        return _spelt({"at": self._sample.at, "figures": {key: self._figures[key] for key in keys}})


def _figures(moving: Rates, counted: Counters) -> Figures:
    return tuple(round(rate, 2) for rate in moving) + counted


def _spelt(document: Json) -> bytes:
    return msgspec.json.encode(document) + b"\n"

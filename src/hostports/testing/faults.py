"""Failures on demand: which calls of a fake raise."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

#: In place of a call's number: every call fails.
EVERY: Final = -1


class Faults:
    """Which calls fail, by the name of the call and its number, counted from 1.

    ``Faults({"firewall.apply": [2]})`` makes the second change to the firewall fail. Names are the
    edge and the method; a call that fails is counted too. `calls` are all calls in order.
    """

    def __init__(self, failing: Mapping[str, Collection[int]] | None = None) -> None:
        self.failing = dict(failing or {})
        self.calls: list[str] = []
        self._counts: Counter[str] = Counter()

    def due(self, call: str) -> bool:
        """Count a call, and say whether it shall fail."""
        self.calls.append(call)
        self._counts[call] += 1
        failing = self.failing.get(call, ())
        return EVERY in failing or self._counts[call] in failing

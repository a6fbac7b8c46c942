"""A daemon that kills itself at a step: before or after a call of an edge.

``python -m tests.survival.doomed links.attach:2:before --state …`` dies before it attaches for the
second time since it serves. Everything else of it is the real daemon.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final

from hostports.cli.daemon import flags
from hostports.cli.parser import build_parser
from hostports.daemon.compose import compose
from hostports.daemon.main import run
from hostports.engine import Edges

WHEN: Final = ("before", "after")
#: The calls of edges that change something, in the order in which a publish makes them.
STEPS: Final = (
    "store.record",
    "firewall.apply",
    "links.add_bridge",
    "links.attach",
    "sockets.reserve",
    "sockets.listen",
    "relay.add",
    "sockets.release",
    "conntrack.forget",
    "relay.remove",
    "links.detach",
    "links.remove_bridge",
)


@dataclass
class Doom:
    """Which call of which step is the last thing that happens, or the first that doesn't."""

    step: str
    call: int
    when: str

    @classmethod
    def of(cls, text: str) -> "Doom":
        step, call, when = text.split(":")
        return cls(step, int(call), when)

    def __str__(self) -> str:
        return f"{self.step}:{self.call}:{self.when}"

    def taken(self, step: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:  # noqa: ANN401 - any edge's
        """Make a call, or a part of the way to it."""
        if step != self.step:
            return call(*given, **named)
        self.call -= 1
        self._strike("before")
        result = call(*given, **named)
        self._strike("after")
        return result

    def _strike(self, when: str) -> None:
        if self.call == 0 and when == self.when:
            os.kill(os.getpid(), signal.SIGKILL)


class Doomed:
    """An edge whose calls may be the last ones."""

    def __init__(self, name: str, edge: object, doom: Doom) -> None:
        self._name = name
        self._edge = edge
        self._doom = doom

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - any edge's
        found = getattr(self._edge, method)
        step = f"{self._name}.{method}"
        return partial(self._doom.taken, step, found) if step in STEPS else found


def around(edges: Edges, doom: Doom) -> Edges:
    """All edges that are there, doomed."""
    there = {each.name: getattr(edges, each.name) for each in fields(edges)}
    doomed: dict[str, Any] = {
        name: Doomed(name, edge, doom) for name, edge in there.items() if edge is not None
    }
    return replace(edges, **doomed)


def main(doom: str, *arguments: str) -> int:
    """Live until then."""
    given = flags(build_parser().parse_args(["daemon", *arguments]))
    wrapped = partial(around, doom=Doom.of(doom))
    return run(given, partial(compose, around=wrapped))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""What ``hostports top`` shows of two looks at what is published."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hostports.cli import bindings
from hostports.cli.output import Json, Table
from hostports.core.rates import Rates, identity, rates, sample

_RATES: Final = Rates._fields


class View(NamedTuple):
    """Which ports are shown, and in which order."""

    sort: str = "bytes"
    reverse: bool = False
    filter: str = ""


class Look(NamedTuple):
    """What is published at one time (monotonic seconds)."""

    at: float
    bindings: Sequence[Json] = ()


def moving(before: Look, after: Look) -> list[Json]:
    """The bindings with their rates: ``packets_per_s``, ``bytes_per_s``, ``connections_per_s``."""
    found = rates(sample(before.at, before.bindings), sample(after.at, after.bindings))
    return [each | _named(found[identity(each)]) for each in after.bindings]


def viewed(ports: Sequence[Json], view: View) -> list[Json]:
    """The ports of a view; those that equal each other in what it sorts by stay in their order."""
    words = view.filter.lower().split()
    chosen = [each for each in ports if all(word in _text(each) for word in words)]
    # Of rates the highest come first.
    backwards = view.reverse != (view.sort in _RATES)
    return sorted(chosen, key=lambda each: _rank(each, view.sort), reverse=backwards)


def table(ports: Sequence[Json]) -> Table:
    """Ports in rows of some eighty columns."""
    heads = ("ENDPOINT", "HOST", "CONTAINER", "PACKETS/S", "BYTES/S", "CONNS/S")
    return Table(heads, [_row(each) for each in ports], frozenset(heads[3:]))


def total(ports: Sequence[Json]) -> str:
    """All ports in a sentence."""
    packets, size, connections = (sum(each[f"{name}_per_s"] for each in ports) for name in _RATES)
    return (
        f"{len(ports)} port{'s' * (len(ports) != 1)}: {_number(packets)} packets/s, "
        f"{bindings.amount(round(size))}/s, {_number(connections)} connections/s"
    )


def _row(port: Json) -> tuple[str, ...]:
    host = bindings.host(port)
    return (
        port["endpoint"],
        f"{host}/{port['proto']}" if host else "-",
        bindings.container(port),
        _number(port["packets_per_s"]),
        bindings.amount(round(port["bytes_per_s"])),
        _number(port["connections_per_s"]),
    )


def _number(rate: float) -> str:
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:.0f}"


def _text(port: Json) -> str:
    return " ".join((*_row(port)[:3], port["proto"], port["network"])).lower()


def _rank(port: Json, sort: str) -> Any:  # noqa: ANN401 - whatever is in the column
    if sort in _RATES:
        return port[f"{sort}_per_s"]
    if sort in ("host", "container"):
        return port[f"{sort}_port"], port[f"{sort}_ip"]
    return port[sort]


def _named(found: Rates) -> Json:
    return {f"{name}_per_s": round(rate, 2) for name, rate in zip(_RATES, found, strict=True)}

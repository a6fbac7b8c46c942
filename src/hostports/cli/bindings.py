"""Bindings as people read them."""

from hostports.brackets import bracketed
from hostports.cli.output import Json, Line, Table

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_AGES = ((86400, "d"), (3600, "h"), (60, "m"))


def table(document: Json) -> Table:
    """Everything about bindings, a row each."""
    return Table(
        ("ENDPOINT", "PROTO", "HOST", "CONTAINER", "PATH", "PACKETS", "BYTES", "CONNS", "AGE"),
        [
            (
                each["endpoint"],
                each["proto"],
                _followed(each) or "-",
                container(each),
                _ways(each),
                str(each["packets"]),
                amount(each["bytes"]),
                str(each["connections"]),
                age(each["created"]),
            )
            for each in document["bindings"]
        ],
        frozenset({"PACKETS", "BYTES", "CONNS", "AGE"}),
    )


def lines(document: Json) -> list[Line]:
    """Bindings as docker port shows them."""
    return [Line(line(each)) for each in document["bindings"]]


def line(binding: Json) -> str:
    """``80/tcp -> 0.0.0.0:8080``; a routed one leads to the container's own address."""
    left = f"{binding['container_port']}/{binding['proto']}"
    return f"{left} -> {_followed(binding) or f'{container(binding)} (routed)'}"


def reached_at(document: Json) -> list[Line]:
    """Where clients find each binding, and nothing else."""
    return [Line(host(each) or container(each)) for each in document["bindings"]]


def host(binding: Json) -> str:
    """The host address and port; empty where the container is reached by routing."""
    port = binding["host_port"]
    return _joined(binding["host_ip"], port) if port else ""


def _followed(binding: Json) -> str:
    """The same, and the interface that it follows: ``192.0.2.10:8080 (eth0)``."""
    where, interface = host(binding), binding.get("interface")
    return f"{where} ({interface})" if where and interface else where


def _ways(binding: Json) -> str:
    """By which ways, and whether only some sources are let in: ``nat+relay (limited)``."""
    return f"{binding['path']} (limited)" if binding.get("allow_from") else str(binding["path"])


def amount(count: int) -> str:
    """A number of bytes in three digits and a unit (powers of 1000, as ip -h)."""
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    digits = f"{size:.1f}" if unit and size < 9.95 else f"{size:.0f}"
    return f"{digits} {_UNITS[unit]}"


def age(created: str, now: float | None = None) -> str:
    """How long ago a time was, in its largest whole unit; `now` in seconds since 1970."""
    from datetime import datetime  # noqa: PLC0415 - only tables need it
    from time import time  # noqa: PLC0415 - see above

    try:
        then = datetime.fromisoformat(created).timestamp()
    except ValueError:
        return created
    seconds = max(0, int((time() if now is None else now) - then))
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def container(binding: Json) -> str:
    """The container's address and port."""
    return _joined(binding["container_ip"], binding["container_port"])


def _joined(ip: str, port: int) -> str:
    return f"{bracketed(ip)}:{port}"

"""``hostports doctor``: findings, or the way of one packet."""

from typing import Final

from hostports.cli.output import Json, Line
from hostports.cli.parser import UsageError
from hostports.cli.session import Session
from hostports.cli.specs import PROTOCOLS, is_port
from hostports.errors import UnusableValue

#: Seconds that a packet is waited for.
_PATIENCE_S: Final = 30.0
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(do: Session) -> int:
    """Show findings; 1 if one is a problem. Or follow a packet."""
    if do.args.trace is not None:
        return _trace(do)
    if do.args.probe or do.args.seconds is not None:
        raise UsageError("--probe and --seconds say how to trace", "name a port with --trace")
    answer = do.client.doctor()
    do.console.show(answer, _findings)
    return int(any(each["severity"] == "problem" for each in answer["findings"]))


def _trace(do: Session) -> int:
    """Tell a packet's way, sentence by sentence."""
    port, where = _target(do.args.trace)
    seconds = _PATIENCE_S if do.args.seconds is None else do.args.seconds
    with do.client.trace(port, **where, seconds=seconds, probe=do.args.probe) as story:
        for told in story:
            do.console.show(told, lambda told: [Line(told["sentence"])])
            do.console.flush()
    return 0


def _target(text: str) -> tuple[int, dict[str, str]]:
    """A port, and what else was written: ``8080``, ``192.0.2.1:53/udp``, ``[::1]:80``."""
    rest, slash, protocol = text.partition("/")
    address, colon, port = rest.rpartition(":")
    usable = is_port(port) and int(port) > 0
    if not usable or (slash and protocol.lower() not in PROTOCOLS) or (colon and not address):
        raise UnusableValue(
            text, "it names no port", "write one as 8080, 192.0.2.1:8080 or [2001:db8::1]:53/udp"
        )
    where = {"address": address.strip("[]")} if colon else {}
    return int(port), {**where, "protocol": protocol.lower() or "tcp"}


def _findings(document: Json) -> list[Line]:
    lines = []
    for each in document["findings"]:
        severity = each["severity"]
        lines.append(Line(f"{severity}: {each['what']}", _STYLES.get(severity, "")))
        if each.get("mend"):
            lines.append(Line(f"  mend: {each['mend']}"))
    return lines

"""``hostports events``, ``reload`` and ``version``."""

from typing import Final

from hostports import __version__
from hostports.cli import bindings
from hostports.cli.output import Json, Line
from hostports.cli.session import Session
from hostports.errors import HostportsError

_SENTENCES: Final = {
    "network.created": "network {network} created",
    "network.removed": "network {network} removed",
    "endpoint.added": "endpoint {endpoint} added to network {network}",
    "endpoint.removed": "endpoint {endpoint} removed from network {network}",
    "ports.published": "endpoint {endpoint} publishes {ports}",
    "ports.unpublished": "endpoint {endpoint} no longer publishes {ports}",
    "ports.lost": "endpoint {endpoint} has lost {ports}",
    "ports.regained": "endpoint {endpoint} has {ports} again",
    "firewall.rebuilt": "firewall re-applied",
    "relay.started": "relay started",
    "links.restored": "links restored",
}
#: Bindings that an event's sentence names.
_MOST_NAMED: Final = 4


def events(do: Session) -> int:
    """Show what happens, until the daemon stops."""
    with do.client.events() as happening:
        for event in happening:
            do.console.show(event, lambda event: [Line(sentence(event))])
            do.console.flush()
    return 0


def reload(do: Session) -> int:
    """Make the firewall anew, and missing bridges and cables."""
    return do.console.show(do.client.reload(), lambda _: [Line("firewall re-applied")])


def version(do: Session) -> int:
    """Show versions; a daemon that can't be asked is no failure."""
    daemon, why = None, ""
    try:
        daemon = do.client.health().get("version")
    except HostportsError as error:
        why = error.message
    lines = [Line(f"client {__version__}"), Line(f"daemon {daemon or f'unknown: {why}'}")]
    return do.console.show({"client": __version__, "daemon": daemon}, lambda _: lines)


def sentence(event: Json) -> str:
    """An event as a sentence; one that we don't know goes by its own word."""
    what = str(event.get("event"))
    words = {
        "network": event.get("network", ""),
        "endpoint": event.get("endpoint", ""),
        "ports": _named(event.get("bindings") or []),
    }
    said = _SENTENCES.get(what, what).format(**words)
    message = event.get("message")
    return f"{event.get('time', '')} {said}{f': {message}' if message else ''}".strip()


def _named(ports: list[Json]) -> str:
    named = [bindings.line(each) for each in ports[:_MOST_NAMED]]
    if len(ports) > _MOST_NAMED:
        named.append(f"{len(ports) - _MOST_NAMED} more")
    return ", ".join(named) or "no ports"

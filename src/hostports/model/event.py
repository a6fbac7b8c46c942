"""What happened, for whoever watches, and what was found, for whoever asks the doctor."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from hostports.model.port import PortBinding


class Happening(Enum):
    """What an event is about."""

    NETWORK_CREATED = "network.created"
    NETWORK_REMOVED = "network.removed"
    ENDPOINT_ADDED = "endpoint.added"
    ENDPOINT_REMOVED = "endpoint.removed"
    PORTS_PUBLISHED = "ports.published"
    PORTS_UNPUBLISHED = "ports.unpublished"
    PORTS_LOST = "ports.lost"
    PORTS_REGAINED = "ports.regained"
    FIREWALL_REBUILT = "firewall.rebuilt"
    RELAY_STARTED = "relay.started"
    LINKS_RESTORED = "links.restored"


@dataclass(frozen=True, slots=True)
class Event:
    """One change: what it was, when, to which network or endpoint, and which bindings."""

    what: Happening
    at: datetime
    network: str = ""
    endpoint: str = ""
    bindings: tuple[PortBinding, ...] = ()
    message: str = ""


class Severity(Enum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about this host that helps or keeps published ports from being reached.

    `mend` is what to do about it; empty where all is well. `where` is the table, chain and rule
    that end a packet, `ports` are those that it is about; both empty where it is nothing like that.
    """

    severity: Severity
    what: str
    mend: str = ""
    where: str = ""
    ports: tuple[str, ...] = ()

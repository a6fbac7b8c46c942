"""The relay as others see it: its limits, and what it holds."""

from dataclasses import dataclass
from typing import Final

from hostports.model.port import PortBinding

#: What Python is told to run; by it the process of a relay is known, of any version.
RELAY_MODULE: Final = "hostports.relay"


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Limits of a relay process; 0 means as many as its limit of open files allows.

    `connections` and `connections_per_binding` count open TCP and SCTP connections; above either,
    new ones wait in the kernel's queue. Above `sessions_per_binding` UDP sessions the one that has
    been idle longest makes room. A container has `connect_timeout_s` seconds to accept.
    """

    connections: int = 0
    connections_per_binding: int = 0
    sessions_per_binding: int = 4096
    connect_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class RelayProcess:
    """A relay that was started, wherever its control socket is by now.

    `started` is in clock ticks since the start of the host (proc(5)), as numbers are used again.
    """

    pid: int
    started: int
    path: str


@dataclass(frozen=True, slots=True)
class RelayCounters:
    """What a binding has relayed.

    `open` and `opened` count connections or UDP sessions, now and in all; `refused` those of
    sources that the allowlist doesn't have, `failed` those that the container did not take. Bytes
    are payload, each way.
    """

    open: int = 0
    opened: int = 0
    refused: int = 0
    failed: int = 0
    bytes_to_container: int = 0
    bytes_to_client: int = 0


@dataclass(frozen=True, slots=True)
class HeldBinding:
    """A binding that the relay holds; one that is `draining` takes no new connections."""

    binding: PortBinding
    counters: RelayCounters
    draining: bool = False

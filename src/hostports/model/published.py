"""A published port as people are shown it: the binding, the ways to it, and what passed."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from hostports.model.network import GatewayMode
from hostports.model.port import PortBinding, SocketAddress


class Path(Enum):
    """The ways that clients take to the container."""

    NAT = "nat"
    RELAY = "relay"
    NAT_AND_RELAY = "nat+relay"
    ROUTED = "routed"


@dataclass(frozen=True, slots=True)
class Ways:
    """Which ways there are on a host: `nat` where a firewall translates, `relay` where one runs."""

    nat: bool = True
    relay: bool = True


ALL_WAYS: Final = Ways()


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A binding, since when it has been published, and what has passed by all its ways.

    `packets` counts those of DNAT, `bytes` payload of the relay and whole packets of DNAT.
    """

    binding: PortBinding
    gateway_mode: GatewayMode
    path: Path
    created: datetime
    packets: int = 0
    bytes: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The bindings that a request would give, in order, and what its sender should know.

    `rules` are the firewall's, in its own words.
    """

    bindings: tuple[PortBinding, ...]
    warnings: tuple[str, ...]
    rules: tuple[str, ...] = ()

    @property
    def sockets(self) -> tuple[SocketAddress, ...]:
        """The sockets that would be bound."""
        return tuple(binding.socket for binding in self.bindings if not binding.routed)

"""The host's interfaces and routes, as decisions about networks need them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hostports.model.address import IPNetwork


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of the host: the subnets of its addresses, and whether it is a bridge."""

    subnets: tuple[IPNetwork, ...] = ()
    bridge: bool = False


@dataclass(frozen=True, slots=True)
class HostLinks:
    """Interfaces by name, and destinations that the host has routes to, with the interface's name.

    Default routes are not among them. `ipv6` is whether the host has that family at all.
    """

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    routes: Mapping[IPNetwork, str] = field(default_factory=dict)
    ipv6: bool = True

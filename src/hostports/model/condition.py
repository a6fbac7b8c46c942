"""What on a host decides whether a published port is reached, besides ourselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hostports.model.address import Family


@dataclass(frozen=True, slots=True)
class Condition:
    """The host as `doctor` finds it.

    `forwards`: the families in which the host is a router. `drops`: base chains of others at the
    forward hook whose policy is drop, as ``ip filter FORWARD``. `legacy_tables`: there are rules of
    iptables-legacy, which nft doesn't show. `strict_forward_ports`: firewalld drops what others
    than itself have DNATed.
    """

    firewall_there: bool = True
    forwards: Mapping[Family, bool] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    legacy_tables: bool = False
    strict_forward_ports: bool = False

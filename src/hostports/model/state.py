"""What is wanted: the record that survives the daemon, as a value, and what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from hostports.model.firewall import FirewallItem
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding

#: What comes into the record, and goes.
Recorded: TypeAlias = FirewallItem | Following


@dataclass(frozen=True, slots=True)
class State:
    """Networks and endpoints by name, and bindings in order, with the time of their publication.

    `followings` are in order, too.
    """

    networks: Mapping[str, BridgeNetwork] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    bindings: Mapping[PortBinding, datetime] = field(default_factory=dict)
    followings: tuple[Following, ...] = ()

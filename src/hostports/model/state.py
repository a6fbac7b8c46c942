"""What is wanted: the record that survives the daemon, as a value, and what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding


@dataclass(frozen=True, slots=True)
class State:
    """Networks and endpoints by name, and bindings in order, with the time of their publication."""

    networks: Mapping[str, BridgeNetwork] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    bindings: Mapping[PortBinding, datetime] = field(default_factory=dict)

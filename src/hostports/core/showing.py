"""How published ports are shown: by which ways they are reached, and what has passed in all."""

from datetime import datetime

from hostports.model.address import family
from hostports.model.firewall import Traffic
from hostports.model.network import BridgeNetwork
from hostports.model.port import PortBinding, PublishMode
from hostports.model.published import Path, PublishedPort, Ways
from hostports.model.relay import RelayCounters

_NOTHING = Traffic()
_NOBODY = RelayCounters()


def shown(
    binding: PortBinding, network: BridgeNetwork, created: datetime, ways: Ways
) -> PublishedPort:
    """A binding as it is shown when it is new."""
    of = family(binding.host_ip)
    return PublishedPort(binding, network.gateway_mode(of), _path(binding, ways), created)


def with_traffic(
    port: PublishedPort, traffic: Traffic | None, relayed: RelayCounters | None
) -> PublishedPort:
    """The same with what has passed by DNAT and by the relay."""
    direct, through = traffic or _NOTHING, relayed or _NOBODY
    return PublishedPort(
        port.binding,
        port.gateway_mode,
        port.path,
        port.created,
        packets=direct.packets,
        bytes=direct.bytes + through.bytes_to_container + through.bytes_to_client,
        connections=direct.connections + through.opened,
    )


def _path(binding: PortBinding, ways: Ways) -> Path:
    if binding.routed:
        return Path.ROUTED
    one_family = binding.socket.ip.version == binding.container_ip.version
    if binding.mode is PublishMode.RELAY or not (one_family and ways.nat):
        return Path.RELAY
    return Path.NAT_AND_RELAY if ways.relay else Path.NAT

"""Bindings as flat rows of texts and numbers, for the relay's control channel and the store."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, TypeAlias

from hostports.model.address import IPAddress, IPNetwork
from hostports.model.port import PortBinding, Protocol, ProxyProtocol, PublishMode, SocketAddress

#: A value for each of `COLUMNS`.
Row: TypeAlias = Sequence[str | int | None]

COLUMNS: Final = (
    "network",
    "endpoint",
    "protocol",
    "host_ip",
    "host_port",
    "container_ip",
    "container_port",
    "child_ip",
    "child_port",
    "port_driver_id",
    "mode",
    "allow_from",
    "proxy_protocol",
)

# Thousands of bindings have a handful of addresses, and parsing is most of what a row costs.
_ip: Final = lru_cache(1024)(ip_address)


def to_row(binding: PortBinding) -> Row:
    """The row of a binding."""
    child = binding.child
    return (
        binding.network,
        binding.endpoint,
        binding.protocol.value,
        str(binding.host_ip),
        binding.host_port,
        str(binding.container_ip),
        binding.container_port,
        None if child is None else str(child.ip),
        None if child is None else child.port,
        binding.port_driver_id,
        binding.mode.value,
        " ".join(map(str, binding.allow_from)),
        binding.proxy_protocol and binding.proxy_protocol.value,
    )


def from_row(row: Row) -> PortBinding:
    """The binding of a row; raises `ValueError` or `TypeError` for what is none."""
    (network, endpoint, protocol, host_ip, host_port, container_ip, container_port) = row[:7]
    (child_ip, child_port, port_driver_id, mode, allow_from, proxy_protocol) = row[7:]
    spoken = Protocol(protocol)
    return PortBinding(
        network=str(network),
        endpoint=str(endpoint),
        protocol=spoken,
        host_ip=_address(host_ip),
        host_port=_number(host_port),
        container_ip=_address(container_ip),
        container_port=_number(container_port),
        child=None
        if child_ip is None
        else SocketAddress(spoken, _address(child_ip), _number(child_port)),
        port_driver_id=None if port_driver_id is None else _number(port_driver_id),
        mode=PublishMode(mode),
        allow_from=_networks(str(allow_from)),
        proxy_protocol=None if proxy_protocol is None else ProxyProtocol(proxy_protocol),
    )


def _address(value: object) -> IPAddress:
    return _ip(str(value))


@lru_cache(1024)
def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, text.split()))


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value

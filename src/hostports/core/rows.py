"""Networks, endpoints, bindings and followings as flat rows of texts and numbers.

The store keeps all of them so, and the relay's control channel carries bindings.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from sys import intern
from typing import Final, TypeAlias, TypeVar

from hostports.model.address import IPAddress, IPNetwork, spelled
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode
from hostports.model.port import (
    MAX_PORT,
    PortBinding,
    PortRange,
    Protocol,
    ProxyProtocol,
    PublishMode,
    SocketAddress,
)

#: A value for each of `COLUMNS`, `FOLLOWING_COLUMNS`, `ENDPOINT_COLUMNS` or `NETWORK_COLUMNS`.
Row: TypeAlias = Sequence[str | int | None]
T = TypeVar("T")

#: Of a binding.
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
    "mode",
    "allow_from",
    "proxy_protocol",
)

FOLLOWING_COLUMNS: Final = (
    "endpoint",
    "interface",
    "protocol",
    "host_port",
    "container_port",
    "mode",
    "allow_from",
    "proxy_protocol",
)

ENDPOINT_COLUMNS: Final = ("name", "network", "ipv4", "ipv6", "namespace")

NETWORK_COLUMNS: Final = (
    "name",
    "gateway_mode_ipv4",
    "gateway_mode_ipv6",
    "bridge",
    "subnet_ipv4",
    "subnet_ipv6",
    "internal",
    "icc",
    "masquerade",
    "host_ipv4",
    "host_ipv6",
    "trusted_host_interfaces",
    "existing",
    "ports_only",
)

# Thousands of bindings have a handful of addresses, and these are most of what a row costs.
_ip: Final = lru_cache(1024)(ip_address)


def to_row(binding: PortBinding) -> Row:
    """The row of a binding."""
    child = binding.child
    return (
        binding.network,
        binding.endpoint,
        binding.protocol.value,
        spelled(binding.host_ip),
        binding.host_port,
        spelled(binding.container_ip),
        binding.container_port,
        None if child is None else spelled(child.ip),
        None if child is None else child.port,
        binding.mode.value,
        " ".join(map(str, binding.allow_from)),
        binding.proxy_protocol and binding.proxy_protocol.value,
    )


def from_row(row: Row) -> PortBinding:
    """The binding of a row; raises `ValueError` or `TypeError` for what is none."""
    (network, endpoint, protocol, host_ip, host_port, container_ip, container_port) = row[:7]
    (child_ip, child_port, mode, allow_from, proxy_protocol) = row[7:]
    spoken = Protocol(protocol)
    return PortBinding(
        # One text for thousands of bindings.
        network=intern(_text(network)),
        endpoint=intern(_text(endpoint)),
        protocol=spoken,
        host_ip=_address(host_ip),
        host_port=_port(host_port),
        container_ip=_address(container_ip),
        container_port=_port(container_port),
        child=None
        if child_ip is None
        else SocketAddress(spoken, _address(child_ip), _port(child_port)),
        mode=PublishMode(mode),
        allow_from=_networks(_text(allow_from)),
        proxy_protocol=None if proxy_protocol is None else ProxyProtocol(proxy_protocol),
    )


def following_to_row(following: Following) -> Row:
    """The row of a following."""
    return (
        following.endpoint,
        following.interface,
        following.protocol.value,
        following.host_port,
        following.container_port,
        following.mode.value,
        " ".join(map(str, following.allow_from)),
        following.proxy_protocol and following.proxy_protocol.value,
    )


def following_from_row(row: Row) -> Following:
    """The following of a row.

    Raises `ValueError`, `TypeError` or `UnusableValue` for what is none.
    """
    (endpoint, interface, protocol, host_port, container_port) = row[:5]
    (mode, allow_from, proxy_protocol) = row[5:]
    return Following(
        endpoint=_text(endpoint),
        interface=_text(interface),
        protocol=Protocol(protocol),
        host_port=PortRange.single(_port(host_port)).first,
        container_port=_port(container_port),
        mode=PublishMode(mode),
        allow_from=_networks(_text(allow_from)),
        proxy_protocol=None if proxy_protocol is None else ProxyProtocol(proxy_protocol),
    )


def endpoint_to_row(endpoint: Endpoint) -> Row:
    """The row of an endpoint, in which its network is a name."""
    return (
        endpoint.name,
        endpoint.network.name,
        _written(endpoint.ipv4),
        _written(endpoint.ipv6),
        endpoint.namespace,
    )


def endpoint_from_row(row: Row, networks: Mapping[str, BridgeNetwork]) -> Endpoint:
    """The endpoint of a row, on one of `networks`.

    Raises `ValueError`, `TypeError` or `UnusableValue` for what is none.
    """
    (name, network, ipv4, ipv6, namespace) = row
    if network not in networks:
        raise ValueError(f"there is no network {network!r}")
    return Endpoint(
        name=_text(name),
        network=networks[_text(network)],
        ipv4=_parsed(IPv4Address, ipv4),
        ipv6=_parsed(IPv6Address, ipv6),
        namespace=_text(namespace),
    )


def network_to_row(network: BridgeNetwork) -> Row:
    """The row of a network."""
    return (
        network.name,
        network.gateway_mode_ipv4.value,
        network.gateway_mode_ipv6.value,
        network.bridge,
        _written(network.subnet_ipv4),
        _written(network.subnet_ipv6),
        int(network.internal),
        int(network.icc),
        int(network.masquerade),
        _written(network.host_ipv4),
        _written(network.host_ipv6),
        " ".join(network.trusted_host_interfaces),
        int(network.existing),
        int(network.ports_only),
    )


def network_from_row(row: Row) -> BridgeNetwork:
    """The network of a row.

    Raises `ValueError`, `TypeError` or `UnusableValue` for what is none.
    """
    (name, gateway_mode_ipv4, gateway_mode_ipv6, bridge, subnet_ipv4, subnet_ipv6) = row[:6]
    (internal, icc, masquerade, host_ipv4, host_ipv6) = row[6:11]
    (trusted_host_interfaces, existing, ports_only) = row[11:]
    return BridgeNetwork(
        name=_text(name),
        gateway_mode_ipv4=GatewayMode(gateway_mode_ipv4),
        gateway_mode_ipv6=GatewayMode(gateway_mode_ipv6),
        bridge=_text(bridge),
        subnet_ipv4=_parsed(IPv4Network, subnet_ipv4),
        subnet_ipv6=_parsed(IPv6Network, subnet_ipv6),
        internal=_flag(internal),
        icc=_flag(icc),
        masquerade=_flag(masquerade),
        host_ipv4=_parsed(IPv4Address, host_ipv4),
        host_ipv6=_parsed(IPv6Address, host_ipv6),
        trusted_host_interfaces=tuple(_text(trusted_host_interfaces).split()),
        existing=_flag(existing),
        ports_only=_flag(ports_only),
    )


def _written(value: object) -> str | None:
    return None if value is None else str(value)


def _parsed(of: Callable[[str], T], value: object) -> T | None:
    return None if value is None else of(_text(value))


def _address(value: object) -> IPAddress:
    return _ip(str(value))


@lru_cache(1024)
def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, text.split()))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _port(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    if not 0 <= value <= MAX_PORT:
        raise ValueError(f"{value} is no port")
    return value


def _flag(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither 0 nor 1")
    return value == 1

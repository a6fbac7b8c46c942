"""Hypothesis strategies for values of the model, shared by all property tests."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Literal

from hypothesis import strategies as st

from hostports.model.address import IPAddress, IPNetwork, unmapped
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode
from hostports.model.port import (
    PortBinding,
    PortRange,
    PortSpec,
    Protocol,
    ProxyProtocol,
    PublishMode,
    SocketAddress,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
interfaces = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", fullmatch=True)
#: With wildcards, as iptables and nft write them.
groups_of_interfaces = st.builds("".join, st.tuples(interfaces, st.sampled_from(["", "+", "*"])))
#: Those that a spec may name.
followed = interfaces.filter(lambda name: re.search("[A-Za-z]", name) is not None).filter(
    lambda name: name.lower() not in ("localhost", "tcp", "udp", "sctp")
)
ports = st.integers(1, 65535)
protocols = st.sampled_from(Protocol)


@st.composite
def port_ranges(draw: st.DrawFn) -> PortRange:
    first = draw(ports)
    return PortRange(first, draw(st.integers(first, 65535)))


def addresses() -> st.SearchStrategy[IPAddress]:
    """Addresses as a spec has them: a mapped one has become IPv4."""
    special = st.sampled_from([IPv4Address("0.0.0.0"), IPv6Address("::"), IPv6Address("::1")])
    return st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).map(unmapped), special)


@st.composite
def port_specs(draw: st.DrawFn) -> PortSpec:
    """Specs with a host address, with an interface, or with neither."""
    where: IPAddress | str | None = draw(st.none() | addresses() | followed)
    return PortSpec(
        container_port=draw(st.integers(0, 65535)),
        protocol=draw(protocols),
        host_ports=draw(st.none() | port_ranges()),
        host_ip=None if isinstance(where, str) else where,
        interface=where if isinstance(where, str) else "",
    )


def json_values() -> st.SearchStrategy[object]:
    """Anything that JSON can say, as Python reads it."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    )


@st.composite
def networks(draw: st.DrawFn, version: Literal[4, 6] | None = None) -> IPNetwork:
    ip = draw(st.ip_addresses(v=version))
    length = draw(st.integers(0, ip.max_prefixlen))
    return ip_network(f"{ip}/{length}", strict=False)


@st.composite
def port_bindings(draw: st.DrawFn) -> PortBinding:
    """Bindings of any kind; the child's protocol is the binding's."""
    protocol = draw(protocols)
    child = st.builds(SocketAddress, st.just(protocol), addresses(), ports)
    return PortBinding(
        network=draw(st.text()),
        endpoint=draw(st.text()),
        protocol=protocol,
        host_ip=draw(addresses()),
        host_port=draw(st.integers(0, 65535)),
        container_ip=draw(addresses()),
        container_port=draw(ports),
        child=draw(st.none() | child),
        mode=draw(st.sampled_from(PublishMode)),
        allow_from=tuple(draw(st.lists(networks(), max_size=3))),
        proxy_protocol=draw(st.none() | st.sampled_from(ProxyProtocol)),
        interface=draw(st.just("") | interfaces),
    )


def followings() -> st.SearchStrategy[Following]:
    return st.builds(
        Following,
        endpoint=names,
        interface=followed,
        protocol=protocols,
        host_port=ports,
        container_port=st.integers(0, 65535),
        mode=st.sampled_from(PublishMode),
        allow_from=st.lists(networks(), max_size=3).map(tuple),
        proxy_protocol=st.none() | st.sampled_from(ProxyProtocol),
    )


def bridge_networks() -> st.SearchStrategy[BridgeNetwork]:
    return st.builds(
        BridgeNetwork,
        name=names,
        gateway_mode_ipv4=st.sampled_from(GatewayMode),
        gateway_mode_ipv6=st.sampled_from(GatewayMode),
        bridge=st.just("") | interfaces,
        subnet_ipv4=st.none() | networks(4),
        subnet_ipv6=st.none() | networks(6),
        internal=st.booleans(),
        icc=st.booleans(),
        masquerade=st.booleans(),
        host_ipv4=st.none() | st.ip_addresses(v=4),
        host_ipv6=st.none() | st.ip_addresses(v=6),
        trusted_host_interfaces=st.lists(groups_of_interfaces, max_size=3).map(tuple),
        existing=st.booleans(),
        ports_only=st.booleans(),
    )


def endpoints(on: st.SearchStrategy[BridgeNetwork]) -> st.SearchStrategy[Endpoint]:
    return st.builds(
        Endpoint,
        name=names,
        network=on,
        ipv4=st.none() | st.ip_addresses(v=4),
        ipv6=st.none() | st.ip_addresses(v=6),
        namespace=st.text(),
    )

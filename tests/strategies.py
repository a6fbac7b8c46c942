"""Hypothesis strategies for values of the model, shared by all property tests."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from hostports.model.address import IPAddress, unmapped
from hostports.model.port import PortRange, PortSpec, Protocol

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


def port_specs() -> st.SearchStrategy[PortSpec]:
    return st.builds(
        PortSpec,
        container_port=st.integers(0, 65535),
        protocol=protocols,
        host_ports=st.none() | port_ranges(),
        host_ip=st.none() | addresses(),
    )

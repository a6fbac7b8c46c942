from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.core.relay.allowlist import allows
from hostports.model.address import IPAddress, IPNetwork, unmapped
from tests.strategies import networks


@pytest.mark.parametrize(
    ("allow_from", "source", "allowed"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7/32", "192.0.2.7", True),
        ("fd00:c::/64", "fd00:c::ffff", True),
        ("fd00:c::/64", "fd00:c:0:1::", False),
        ("0.0.0.0/0", "203.0.113.1", True),
        ("0.0.0.0/0", "fd00::1", False),
        ("::/0", "fd00::1", True),
        ("::/0", "203.0.113.1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.0/24", "::ffff:203.0.113.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::/10", "fe80::1%3", True),
        ("fd00::/8", "fe80::1%eth0", False),
    ],
)
def test_a_source_is_allowed_when_a_network_has_it(
    allow_from: str,
    source: str,
    allowed: bool,  # noqa: FBT001 - a table
) -> None:
    assert allows([ip_network(allow_from)], source) is allowed


@pytest.mark.parametrize("source", ["192.0.2.1", "fd00::1", "::ffff:192.0.2.1", "fe80::1%eth0"])
def test_an_empty_list_allows_all(source: str) -> None:
    assert allows((), source)


def has(network: IPNetwork, ip: IPAddress) -> bool:
    """By definition: the same family, and the same leading bits."""
    rest = network.max_prefixlen - network.prefixlen
    return network.version == ip.version and (
        int(network.network_address) >> rest == int(ip) >> rest
    )


def told(source: IPAddress, scope: str) -> str:
    """A source as getpeername(2) tells it: only IPv6 addresses have a scope."""
    return f"{source}{scope if source.version == 6 else ''}"


@st.composite
def sources(draw: st.DrawFn, allow_from: list[IPNetwork]) -> IPAddress:
    """Any address, often one of the list's; often IPv4 as an IPv6 socket sees it."""
    within = [st.ip_addresses(network=each) for each in allow_from]
    ip = draw(st.one_of(st.ip_addresses(), *within))
    mapped = isinstance(ip, IPv4Address) and draw(st.booleans())
    return IPv6Address(f"::ffff:{ip}") if mapped else ip


@given(st.data(), st.lists(networks(), min_size=1, max_size=4), st.sampled_from(["", "%eth0"]))
def test_a_list_allows_what_one_of_its_networks_has(
    data: st.DataObject, allow_from: list[IPNetwork], scope: str
) -> None:
    source = data.draw(sources(allow_from))
    expected = any(has(each, unmapped(source)) for each in allow_from)
    assert allows(allow_from, told(source, scope)) is expected


@given(st.ip_addresses())
def test_a_network_of_one_address_allows_exactly_that(ip: IPAddress) -> None:
    ip = unmapped(ip)
    neighbour = type(ip)(int(ip) ^ 1)
    assert allows([ip_network(ip)], str(ip))
    assert not allows([ip_network(ip)], str(neighbour))

"""Which bindings go and come when followed interfaces have other addresses."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import BridgeNetwork, Endpoint, GatewayMode, PublishRequest, parse_spec
from hostports.core.expand import Circumstances, expand
from hostports.core.following import Moves, moves
from hostports.errors import AddressNotOnHost, UnusableValue
from hostports.model.address import overlap
from hostports.model.following import Following
from hostports.model.host import InterfaceAddress, PortDriverInfo
from hostports.model.port import PortBinding, Protocol, PublishMode

NETWORK = BridgeNetwork("lab")
WEB = Endpoint("web", NETWORK, IPv4Address("172.19.0.2"), IPv6Address("fd00::2"))
FOUR = Endpoint("four", NETWORK, IPv4Address("172.19.0.3"))
ENDPOINTS = {"web": WEB, "four": FOUR}
HTTP = Following("web", "eth0", Protocol.TCP, 8080, 80)


def around(*ips: str, relay: bool = True, **interfaces: list[str]) -> Circumstances:
    """A host on which `ips` are those of eth0."""
    named = {"eth0": list(ips)} | interfaces
    addresses = {
        name: [InterfaceAddress(ip_address(each)) for each in some] for name, some in named.items()
    }
    return Circumstances(relay=relay, addresses=addresses)


def come(*ips: str, following: Following = HTTP, there: tuple[PortBinding, ...] = ()) -> list[str]:
    found = moves([following], ENDPOINTS, there, around(*ips))
    return [str(each.host_socket) for each in found.come]


def published(*ips: str) -> tuple[PortBinding, ...]:
    return moves([HTTP], ENDPOINTS, (), around(*ips)).come


def test_each_address_has_a_binding_with_the_same_host_port() -> None:
    assert come("192.0.2.1", "2001:db8::1", "192.0.2.2") == [
        "192.0.2.1:8080/tcp",
        "192.0.2.2:8080/tcp",
        "[2001:db8::1]:8080/tcp",
    ]


def test_an_address_that_the_interface_has_twice_is_published_once() -> None:
    assert come("192.0.2.1", "192.0.2.1") == ["192.0.2.1:8080/tcp"]


def test_where_nothing_changes_nothing_is_done() -> None:
    there = published("192.0.2.1", "2001:db8::1")
    assert come("192.0.2.1", "2001:db8::1", there=there) == []


def test_what_lost_its_address_goes() -> None:
    there = published("192.0.2.1", "2001:db8::1")
    found = moves([HTTP], ENDPOINTS, there, around("192.0.2.1"))
    assert (found.gone, found.come) == ((there[1],), ())
    assert moves([HTTP], ENDPOINTS, there, Circumstances()).gone == there


def test_what_was_asked_for_by_itself_stays_when_the_interface_loses_it() -> None:
    (follows,) = published("192.0.2.1")
    by_itself = replace(follows, interface="")
    assert moves([HTTP], ENDPOINTS, [by_itself], around()).gone == ()
    assert come("192.0.2.1", there=(by_itself,)) == []


@pytest.mark.parametrize(
    ("ip", "covered"), [("0.0.0.0", True), ("192.0.2.1", True), ("192.0.2.2", False)]
)
def test_an_address_that_is_covered_needs_no_binding(ip: str, *, covered: bool) -> None:
    (follows,) = published("192.0.2.1")
    other = replace(follows, host_ip=ip_address(ip), interface="")
    assert (come("192.0.2.1", there=(other,)) == []) is covered


def test_an_address_of_two_interfaces_is_published_once_and_as_long_as_one_has_it() -> None:
    both = [HTTP, replace(HTTP, interface="eth1")]
    (first,) = moves(both, ENDPOINTS, (), around("192.0.2.1", eth1=["192.0.2.1"])).come
    assert first.interface == "eth0"
    found = moves(both, ENDPOINTS, [first], around(eth1=["192.0.2.1"]))
    assert found.gone == (first,)
    assert [each.interface for each in found.come] == ["eth1"]


@pytest.mark.parametrize("relay", [True, False])
def test_an_endpoint_with_ipv4_only_is_reached_by_ipv6_through_the_relay(*, relay: bool) -> None:
    following = replace(HTTP, endpoint="four")
    host = around("192.0.2.1", "2001:db8::1", relay=relay)
    found = moves([following], ENDPOINTS, (), host).come
    assert [str(each.container_ip) for each in found] == ["172.19.0.3"] * (1 + relay)


def test_what_can_not_be_published_is_left_out() -> None:
    addresses = [
        InterfaceAddress(ip_address("169.254.1.1")),
        InterfaceAddress(ip_address("fe80::1")),
        InterfaceAddress(ip_address("2001:db8::1"), tentative=True),
        InterfaceAddress(ip_address("2001:db8::2"), temporary=True),
        InterfaceAddress(ip_address("2001:db8::3")),
    ]
    host = Circumstances(addresses={"eth0": addresses})
    (found,) = moves([HTTP], ENDPOINTS, (), host).come
    assert str(found.host_ip) == "2001:db8::3"


def test_a_routed_family_is_open_whatever_addresses_there_are() -> None:
    network = replace(NETWORK, gateway_mode_ipv6=GatewayMode.ROUTED)
    endpoints = {"web": replace(WEB, network=network)}
    (routed,) = moves([HTTP], endpoints, (), Circumstances()).come
    assert (str(routed.host_ip), routed.host_port) == ("::", 0)
    found = moves([HTTP], endpoints, [routed], around("192.0.2.1", "2001:db8::1"))
    assert (found.gone, [str(each.host_ip) for each in found.come]) == ((), ["192.0.2.1"])


#: Asked for as ``eth0:8080:80``, on a network that is routed.
ROUTED = replace(
    published("192.0.2.1")[0], host_ip=IPv4Address("0.0.0.0"), host_port=0, container_port=81
)
IPS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]
some_ips = st.lists(st.sampled_from(IPS), unique=True)
#: Few, so that they get in each other's way.
FOLLOWINGS = [
    Following(endpoint, interface, Protocol.TCP, port, 80, mode)
    for endpoint in ENDPOINTS
    for interface in ("eth0", "eth1")
    for port in (8080, 8081)
    for mode in (PublishMode.NAT, PublishMode.RELAY)
]


@given(
    st.lists(st.sampled_from(FOLLOWINGS), unique=True, max_size=4),
    st.lists(st.tuples(some_ips, some_ips), min_size=1, max_size=4),
    st.sets(st.sampled_from(["0.0.0.0", *IPS])),
)
def test_whatever_comes_and_goes_each_address_is_covered_once_for_each_following(
    followings: list[Following], story: list[tuple[list[str], list[str]]], by_itself: set[str]
) -> None:
    template = replace(published("192.0.2.1")[0], interface="")
    fixed = [replace(template, host_ip=ip_address(each)) for each in sorted(by_itself)]
    fixed.append(replace(ROUTED, endpoint="four"))
    there = dict.fromkeys(fixed)
    for eth0, eth1 in story:
        host = around(*eth0, eth1=eth1)
        moved = moves(followings, ENDPOINTS, there, host)
        for gone in moved.gone:
            del there[gone]
        assert not there.keys() & set(moved.come)
        there |= dict.fromkeys(moved.come)
        assert moves(followings, ENDPOINTS, there, host) == Moves()
    assert set(fixed) <= there.keys()
    followed = [each for each in there if each.interface and not each.routed]
    assert {str(each.host_ip) for each in followed} <= {*eth0, *eth1}
    for each in followings:
        for ip in map(ip_address, eth0 if each.interface == "eth0" else eth1):
            assert any(
                (found.endpoint, found.host_port) == (each.endpoint, each.host_port)
                and overlap(found.host_ip, ip)
                for found in there
            )


def expanded(text: str, host: Circumstances) -> list[tuple[str, str]]:
    request = PublishRequest(WEB, [spec for each in text.split() for spec in parse_spec(each)])
    (group,) = expand(request, host).groups
    return [(str(each.host_ip), each.interface) for each in group.members]


def test_a_spec_with_an_interface_shares_its_port_with_one_with_an_address() -> None:
    both = [("127.0.0.1", ""), ("192.0.2.1", "eth0"), ("2001:db8::1", "eth0")]
    host = around("2001:db8::1", "192.0.2.1")
    assert expanded("eth0::80 127.0.0.1::80", host) == both


def test_an_address_that_is_asked_for_by_itself_too_is_not_the_interfaces() -> None:
    assert expanded("eth0::80 192.0.2.1::80", around("192.0.2.1")) == [("192.0.2.1", "")]


@pytest.mark.parametrize("host", [around(), Circumstances(), around("fe80::1")])
def test_an_interface_without_an_address_that_leads_there_is_refused(host: Circumstances) -> None:
    with pytest.raises(AddressNotOnHost, match=r"^eth0:8080:80/tcp can't be published: .*eth0"):
        expanded("eth0:8080:80", host)


def test_inside_rootlesskit_there_are_other_interfaces() -> None:
    host = replace(around("192.0.2.1"), driver=PortDriverInfo("builtin", frozenset({"tcp4"})))
    with pytest.raises(UnusableValue, match=r"^'eth0': .*RootlessKit.*; write an address"):
        expanded("eth0:8080:80", host)

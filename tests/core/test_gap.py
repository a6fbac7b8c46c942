"""Which flows that began without our rules must meet them."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest

from hostports import BridgeNetwork, PortBinding, Protocol
from hostports.core.gap import strays
from hostports.model.flow import Flow
from hostports.model.network import GatewayMode
from hostports.model.port import PublishMode

LAB = BridgeNetwork("lab", bridge="br0", subnet_ipv4=IPv4Network("172.30.0.0/24"))
WEB, NEIGHBOUR, HOST = map(IPv4Address, ("172.30.0.2", "10.9.0.2", "10.9.0.1"))
TCP, UDP, ICMP = 6, 17, 1


def binding(protocol: Protocol, ip: str = "0.0.0.0") -> PortBinding:
    return PortBinding("lab", "web", protocol, ip_address(ip), 8080, WEB, 80)


def flow(source: IPv4Address, destination: IPv4Address, port: int, protocol: int = TCP) -> Flow:
    """One without NAT."""
    return Flow(
        *(protocol, source, destination, port),
        answered_by=destination,
        answered_to=source,
        from_host=source == HOST,
        to_host=destination == HOST,
        source_port=40000,
    )


def stray(it: Flow, network: BridgeNetwork = LAB, bindings: Sequence[PortBinding] = ()) -> bool:
    published = bindings or (binding(Protocol.TCP), binding(Protocol.UDP))
    return strays([network], published)(it)


def test_a_datagram_flow_to_a_published_port_must_be_translated() -> None:
    there = flow(NEIGHBOUR, HOST, 8080, UDP)
    assert stray(there)
    assert stray(there, bindings=[binding(Protocol.UDP, str(HOST))])
    assert not stray(replace(there, answered_by=WEB))
    assert not stray(replace(there, port=8081))
    assert not stray(there, bindings=[binding(Protocol.UDP, "10.9.0.9")])


def test_an_answer_of_the_relay_that_was_tracked_first_must_be_forgotten_as_well() -> None:
    answer = replace(flow(HOST, NEIGHBOUR, 40000, UDP), source_port=8080)
    assert stray(answer)
    assert not stray(replace(answer, source_port=53))
    assert not stray(replace(answer, protocol=TCP))


def test_the_relay_goes_on_with_what_it_has_taken() -> None:
    assert not stray(flow(NEIGHBOUR, HOST, 8080, TCP))
    relayed = replace(binding(Protocol.UDP), mode=PublishMode.RELAY)
    assert not stray(flow(NEIGHBOUR, HOST, 8080, UDP), bindings=[relayed])


@pytest.mark.parametrize("protocol", [TCP, UDP, ICMP])
def test_a_flow_straight_to_an_unpublished_port_must_end(protocol: int) -> None:
    assert stray(flow(NEIGHBOUR, WEB, 81, protocol))
    assert not stray(flow(HOST, WEB, 81, protocol))
    assert not stray(flow(IPv4Address("172.30.0.3"), WEB, 81, protocol))


def test_a_published_port_may_be_reached_directly_where_rules_allow_it() -> None:
    """Where they don't, they drop every packet before connection tracking."""
    routed = replace(LAB, gateway_mode_ipv4=GatewayMode.ROUTED)
    for network in (LAB, routed):
        assert not stray(flow(NEIGHBOUR, WEB, 80), network)
        assert stray(flow(NEIGHBOUR, WEB, 81), network)


def test_without_masquerading_nobody_knows_where_a_direct_flow_came_in() -> None:
    assert stray(flow(NEIGHBOUR, WEB, 80), replace(LAB, masquerade=False))


def test_an_unprotected_network_is_open_to_all() -> None:
    unprotected = replace(LAB, gateway_mode_ipv4=GatewayMode.NAT_UNPROTECTED)
    assert not stray(flow(NEIGHBOUR, WEB, 81), unprotected)


def test_what_left_with_a_containers_address_must_be_masqueraded() -> None:
    left = flow(WEB, NEIGHBOUR, 53, UDP)
    assert stray(left)
    assert not stray(replace(left, answered_to=HOST))
    assert not stray(flow(WEB, HOST, 53, UDP))
    assert not stray(left, replace(LAB, masquerade=False))
    assert not stray(left, replace(LAB, gateway_mode_ipv4=GatewayMode.ROUTED))


def test_what_only_passes_by_is_not_ours() -> None:
    assert not stray(flow(NEIGHBOUR, IPv4Address("10.8.0.2"), 80))
    here, there = ip_address("fd09::2"), ip_address("fd08::2")
    six = Flow(TCP, here, there, 80, answered_by=there, answered_to=here)
    assert not stray(six)

"""Which flows must not go on as connection tracking remembers them."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.core.flows import left_over, of_former
from hostports.model.flow import Flow
from hostports.model.port import PublishMode

CLIENT, HOST, ELSEWHERE = (IPv4Address(each) for each in ("192.0.2.9", "192.0.2.1", "192.0.2.7"))
WEB, OTHER = IPv4Address("10.88.0.2"), IPv4Address("10.88.0.3")
LAB = BridgeNetwork("lab", bridge="hp-lab", subnet_ipv4=IPv4Network("10.88.0.0/24"))
DNS = PortBinding("lab", "web", Protocol.UDP, IPv4Address("0.0.0.0"), 5353, WEB, 53)
#: A client's flow that was led to the container.
LED = Flow(Protocol.UDP.number, CLIENT, HOST, 5353, WEB, CLIENT, to_host=True, answering_port=53)


@pytest.mark.parametrize(
    ("flow", "old"),
    [
        (LED, False),
        (replace(LED, answered_by=OTHER), True),
        (replace(LED, answering_port=54), True),
        (replace(LED, port=5354), True),
        (replace(LED, answered_by=HOST, answering_port=5353), True),
        (replace(LED, answered_by=HOST, port=5354, answering_port=5354), False),
        (replace(LED, port=5354, answered_by=ELSEWHERE), False),
        (replace(LED, destination=ELSEWHERE, to_host=False), False),
        (replace(LED, protocol=Protocol.TCP.number, answered_by=OTHER), False),
    ],
    ids=[
        "where its binding leads",
        "to another container",
        "to another port of it",
        "by a port that is published no longer",
        "past a binding that came later",
        "to the host itself",
        "by somebody else's rules",
        "past the host",
        "of TCP, which ends with its connection",
    ],
)
def test_a_flow_of_datagrams_is_left_over_unless_it_goes_where_its_binding_leads(
    flow: Flow, *, old: bool
) -> None:
    assert left_over([LAB], [DNS])(flow) is old


def test_a_specific_host_address_wins_over_the_wildcard() -> None:
    """As in the rules."""
    specific = replace(DNS, host_ip=HOST, container_ip=OTHER)
    old = left_over([LAB], [DNS, specific])
    assert old(LED)
    assert not old(replace(LED, answered_by=OTHER))


def test_what_only_the_relay_serves_is_not_translated() -> None:
    relayed = replace(DNS, mode=PublishMode.RELAY)
    assert not left_over([LAB], [relayed])(replace(LED, answered_by=HOST))
    assert left_over([LAB], [relayed])(LED)


def test_over_loopback_nothing_is_translated() -> None:
    loopback = ip_address("127.0.0.1")
    assert not left_over([LAB], [DNS])(replace(LED, destination=loopback, answered_by=loopback))


@pytest.mark.parametrize(
    ("flow", "wired", "brought_up"),
    [
        (LED, True, True),
        (replace(LED, answered_by=OTHER), False, False),
        (replace(LED, destination=WEB), True, False),
        (replace(LED, source=WEB, destination=ELSEWHERE, answered_by=ELSEWHERE), True, False),
    ],
    ids=["led to it", "led to another", "straight to it", "from it"],
)
def test_whoever_is_wired_up_now_has_no_flows_yet_others_may_have_all_but_those_led_to_them(
    flow: Flow, *, wired: bool, brought_up: bool
) -> None:
    endpoint = Endpoint("web", LAB, WEB, namespace="/run/netns/web")
    assert of_former(endpoint)(flow) is wired
    assert of_former(replace(endpoint, namespace=""))(flow) is brought_up

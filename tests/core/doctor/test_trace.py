"""What nft monitor tells becomes a story, of one packet and its answer only."""

from ipaddress import ip_address

import pytest

from hostports.core.doctor.trace import Story, marking, waiting
from hostports.model.port import Protocol, SocketAddress

#: As nft 1.0.6 wrote it, shortened; a first packet to a port that is published by NAT.
ASKING = """\
trace id 0a inet hostports_trace_7_0 first_prerouting rule tcp dport 8080 meta nftrace set 1 (verdict continue)
trace id 0a inet hostports early packet: iif "uplink0" ether saddr 1e:21 ip saddr 10.9.0.2 ip daddr 10.9.0.1 ip ttl 64 ip protocol tcp tcp sport 43524 tcp dport 8080 tcp flags == syn tcp window 64240
trace id 0a inet hostports early policy accept
trace id 0a inet hostports publish rule meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @dnat_any4 (verdict accept)
trace id 0a inet hostports traffic_in packet: iif "uplink0" ip saddr 10.9.0.2 ip daddr 10.87.0.2 tcp sport 43524 tcp dport 80 tcp flags == syn
trace id 0a inet hostports traffic_in rule ct status dnat jump traffic (verdict jump traffic)
trace id 0a inet hostports to_br packet: iif "uplink0" oif "br" ip saddr 10.9.0.2 ip daddr 10.87.0.2 tcp sport 43524 tcp dport 80 tcp flags == syn
"""  # noqa: E501 - as nft writes it
ACCEPTED = """\
trace id 0a inet hostports to_br rule ip daddr @open4 counter packets 3 bytes 180 accept (verdict accept)
"""  # noqa: E501 - as nft writes it
#: The kernel numbers the answer anew where it is forwarded.
ANSWER = """\
trace id 0b inet hostports traffic_in packet: iif "br" ip saddr 10.87.0.2 ip daddr 10.9.0.2 tcp sport 80 tcp dport 43524 tcp flags == 0x12
trace id 0b inet hostports traffic_in policy accept
trace id 0c inet hostports forward packet: iif "br" oif "uplink0" ip saddr 10.87.0.2 ip daddr 10.9.0.2 tcp sport 80 tcp dport 43524 tcp flags == 0x12
trace id 0c inet hostports forward policy accept
"""  # noqa: E501 - as nft writes it
OTHER = """\
trace id 0d inet hostports early packet: iif "uplink0" ip saddr 10.9.0.9 ip daddr 10.9.0.1 tcp sport 1 tcp dport 8080 tcp flags == syn
trace id 0d inet hostports early policy drop
"""  # noqa: E501 - as nft writes it
BEGUN = [
    "A packet from 10.9.0.2:43524 to 10.9.0.1:8080/tcp comes in by uplink0.",
    "table inet hostports, chain early: passed.",
    "table inet hostports, chain publish: given another destination by the rule "
    "`meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @dnat_any4`.",
    "It now goes to 10.87.0.2:80.",
]


def told(text: str, protocol: Protocol = Protocol.TCP, *, probe: bool = False) -> list[str]:
    """All sentences."""
    story = Story(protocol, probe)
    sentences = [each for line in text.splitlines() for each in story.told(line)]
    return [*sentences, *story.end()]


def test_a_packet_is_followed_from_its_arrival_to_its_leaving_and_so_is_the_answer() -> None:
    assert told(ASKING + ACCEPTED + ANSWER) == [
        *BEGUN,
        "table inet hostports, chain to_br: accepted by the rule `ip daddr @open4 accept`.",
        "It leaves by br, to 10.87.0.2:80.",
        "The answer from 10.87.0.2:80 to 10.9.0.2:43524 comes in by br.",
        "table inet hostports, chain traffic_in: passed.",
        "table inet hostports, chain forward: passed.",
        "It leaves by uplink0, to 10.9.0.2:43524.",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("policy drop", "dropped by its policy."),
        ("rule tcp dport 80 drop (verdict drop)", "dropped by the rule `tcp dport 80 drop`."),
        (
            "rule reject with tcp reset (verdict drop)",
            "rejected by the rule `reject with tcp reset`.",
        ),
    ],
)
def test_a_packet_that_ends_has_no_other_end(line: str, said: str) -> None:
    story = told(ASKING + f"trace id 0a inet others passing {line}\n")
    assert story == [*BEGUN, f"table inet others, chain passing: {said}"]


def test_of_a_packet_that_comes_neither_in_nor_out_no_goal_is_told() -> None:
    """As the kernel drops it when it looks for a way: nobody's rule says so."""
    routed = ASKING.partition("trace id 0a inet hostports to_br packet")[0]
    *begun, passed, end = told(routed)
    assert begun == BEGUN[: len(begun)]
    assert passed == BEGUN[-1]
    assert end.startswith("It gets no further: ")


def test_of_an_answer_that_comes_neither_in_nor_out_no_goal_is_told() -> None:
    routed = ANSWER.partition("trace id 0c")[0]
    *_, passed, end = told(ASKING + ACCEPTED + routed)
    assert passed == "table inet hostports, chain traffic_in: passed."
    assert end.startswith("It gets no further: ")


def test_an_answer_that_is_missing_is_told() -> None:
    assert told(ASKING + ACCEPTED)[-1] == "No answer was seen."


@pytest.mark.parametrize("flags", ["0x14", "rst,ack", "rst"])
def test_a_refusal_is_called_one(flags: str) -> None:
    refused = ANSWER.replace("0x12", flags)
    assert "A refusal from 10.87.0.2:80 to 10.9.0.2:43524 comes in by br." in told(ASKING + refused)


def test_other_clients_are_left_out() -> None:
    assert told(ASKING + OTHER + ACCEPTED + ANSWER) == told(ASKING + ACCEPTED + ANSWER)


def test_what_nobody_sent_is_told() -> None:
    (sentence,) = told("trace id 0a inet x y policy accept\nnonsense\n\n")
    assert sentence.startswith("No packet came")


@pytest.mark.parametrize(
    ("address", "named"), [("0.0.0.0", "port 80/tcp by IPv4"), ("::1", "[::1]:80/tcp")]
)
def test_what_is_waited_for_is_named(address: str, named: str) -> None:
    to = SocketAddress(Protocol.TCP, ip_address(address), 80)
    assert waiting(to, 5.0) == f"Waiting up to 5 s for a packet to {named}."
    assert ("daddr ::1" in marking("x", to)) == (address == "::1")


def test_packets_of_udp_have_no_flags_to_look_at() -> None:
    script = marking("x", SocketAddress(Protocol.UDP, ip_address("::"), 53))
    assert "tcp" not in script
    assert "meta nfproto ipv6 udp dport 53" in script


def test_where_nobody_has_rules_a_packet_is_seen_nevertheless() -> None:
    """Our own table that marks packets is then the only one that tells of them."""
    text = """\
trace id 0a inet hostports_trace_7_0 first_prerouting packet: iif "uplink0" ip saddr 10.9.0.2 ip daddr 10.9.0.1 tcp sport 43524 tcp dport 8080 tcp flags == syn
trace id 0a inet hostports_trace_7_0 first_prerouting rule tcp dport 8080 meta nftrace set 1 (verdict continue)
trace id 0a inet hostports_trace_7_0 first_prerouting policy accept
trace id 0a inet hostports_trace_7_0 taken packet: iif "uplink0" ip saddr 10.9.0.2 ip daddr 10.9.0.1 tcp sport 43524 tcp dport 8080 tcp flags == syn
trace id 0a inet hostports_trace_7_0 taken policy accept
trace id 0b inet hostports_trace_7_0 answer_output packet: oif "uplink0" ip saddr 10.9.0.1 ip daddr 10.9.0.2 tcp sport 8080 tcp dport 43524 tcp flags == 0x12
trace id 0b inet hostports_trace_7_0 answer_output policy accept
"""  # noqa: E501 - as nft writes it
    assert told(text) == [
        "A packet from 10.9.0.2:43524 to 10.9.0.1:8080/tcp comes in by uplink0.",
        "It goes to whoever listens on 10.9.0.1:8080 here.",
        "The answer from 10.9.0.1:8080 to 10.9.0.2:43524 begins on this host.",
        "It leaves by uplink0, to 10.9.0.2:43524.",
    ]


def test_of_a_packet_that_never_came_no_way_is_told_that_it_could_not_take() -> None:
    """What this host sends itself is not lost before it."""
    assert "before this host" in told("")[-1]
    assert "before this host" not in told("", probe=True)[-1]

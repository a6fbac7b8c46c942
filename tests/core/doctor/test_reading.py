"""Rules as nft and iptables-save write them mean what they mean to the kernel."""

import json
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from hostports.core.doctor import iptables, nft
from hostports.core.doctor.packet import Packet
from hostports.core.doctor.ruleset import Act, Ruleset, Tool
from hostports.core.doctor.walk import Passage, through

PACKET = Packet(
    "tcp",
    ip_address("192.0.2.7"),
    ip_address("10.90.0.2"),
    80,
    5000,
    iif="eth0",
    oif="hp-nat",
    translated=True,
    original=(ip_address("192.0.2.1"), 8080),
    host={ip_address("192.0.2.1")},
    hook="forward",
)
ANSWER = replace(PACKET, answer=True, settled=True, sport=80, dport=5000)


def saved(*rules: str, more: str = "") -> Ruleset:
    """A filter table of iptables; `more` are other chains."""
    chains = "".join(f":{name} - [0:0]\n" for name in more.split())
    text = f"*filter\n:FORWARD ACCEPT [0:0]\n{chains}" + "\n".join(rules) + "\nCOMMIT\n"
    return Ruleset(iptables.tables(text, "ip", Tool.IPTABLES, "iptables"))


def listed(*expressions: Any, elements: Any = ()) -> Ruleset:  # noqa: ANN401 - JSON
    """A chain of nft with one rule, and a set ``known``."""
    where = {"family": "inet", "table": "t"}
    chain = {"name": "c", "hook": "forward", "prio": 0, "policy": "accept", "type": "filter"}
    said = [
        {"table": {"family": "inet", "name": "t"}},
        {"set": {**where, "name": "known", "elem": list(elements)}},
        {"chain": {**where, **chain}},
        {"rule": {**where, "chain": "c", "handle": 4, "expr": list(expressions)}},
    ]
    return Ruleset(nft.tables(json.dumps({"nftables": said}), ""))


def outcome(ruleset: Ruleset, packet: Packet = PACKET) -> str:
    """``stop``, ``pass`` or ``doubt``."""
    passage: Passage = through(ruleset, packet, "forward")
    if passage.stop:
        return "stop"
    return "doubt" if passage.doubts else "pass"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("", "stop"),
        ("-i eth0", "stop"),
        ("-i eth+ -o hp+", "stop"),
        ("! -i eth0", "pass"),
        ("-o eth0", "pass"),
        ("-s 192.0.2.0/24", "stop"),
        ("-s 192.0.2.0/255.255.255.0 -d 10.90.0.2/32", "stop"),
        ("! -d 10.90.0.0/16", "pass"),
        ("-p udp", "pass"),
        ("-p 6", "stop"),
        ("! -p tcp", "pass"),
        ("-p tcp -m tcp --dport 80", "stop"),
        ("-p tcp -m tcp --dport 70:79", "pass"),
        ("-p tcp -m tcp ! --dport 80", "pass"),
        ("-p tcp -m tcp --sport 1024:", "stop"),
        ("-p tcp -m multiport --dports 22,80:90", "stop"),
        ("-p tcp -m multiport ! --dports 22,81:90", "stop"),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", "stop"),
        ("-p tcp -m tcp ! --syn", "pass"),
        ("-m conntrack --ctstate NEW", "stop"),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", "pass"),
        ("-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", "pass"),
        ("-m state --state NEW", "stop"),
        ("-m addrtype --dst-type LOCAL", "pass"),
        ("-m addrtype ! --src-type LOCAL", "stop"),
        ("-m mark --mark 0x0/0xff", "stop"),
        ("-m mark --mark 0x1", "pass"),
        ('-m comment --comment "a drop, --dport 81"', "stop"),
        ("-m pkttype --pkt-type unicast", "stop"),
        ("-m rt --rt-type 0", "pass"),
        ("-m set --match-set strangers src", "doubt"),
        ("-m limit --limit 3/min", "doubt"),
        ("-p tcp -m tcp --dport 81 -m limit --limit 3/min", "pass"),
        ("-m unheard --of it", "doubt"),
        ("-m connmark --mark 0x5", "doubt"),
        ("-d 10.0.0.2/255.0.0.255", "doubt"),
    ],
)
def test_matches_of_iptables(conditions: str, expected: str) -> None:
    assert outcome(saved(f"-A FORWARD {conditions} -j DROP")) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (['-A FORWARD -j LOG --log-prefix "a -j DROP"', "-A FORWARD -j REJECT"], "stop"),
        (["-A FORWARD -j a", "-A FORWARD -j DROP", "-A a -j RETURN"], "stop"),
        (["-A FORWARD -g a", "-A FORWARD -j DROP", "-A a -i lo -j DROP"], "pass"),
        (["-A FORWARD -j a", "-A a -j ACCEPT", "-A FORWARD -j DROP"], "pass"),
        (
            [
                "-A FORWARD -j MARK --set-xmark 0x7/0xffffffff",
                "-A FORWARD -m mark --mark 7 -j DROP",
            ],
            "stop",
        ),
        (
            ["-A FORWARD -j MARK --set-xmark 0x7/0xf", "-A FORWARD -m mark --mark 7 -j DROP"],
            "doubt",
        ),
        (["-A FORWARD -j NFQUEUE --queue-num 0"], "doubt"),
        (["-A FORWARD -j UNHEARD"], "doubt"),
        (["-A FORWARD"], "pass"),
    ],
)
def test_targets_of_iptables(rules: list[str], expected: str) -> None:
    assert outcome(saved(*rules, more="a")) == expected


@pytest.mark.parametrize(
    ("target", "to"),
    [
        ("DNAT --to-destination 10.0.0.1:81", ("10.0.0.1", 81)),
        ("DNAT --to-destination 10.0.0.1", ("10.0.0.1", 80)),
        ("REDIRECT --to-ports 81", ("10.90.0.2", 81)),
    ],
)
def test_translations_of_iptables(target: str, to: tuple[str, int]) -> None:
    text = f"*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j {target}\nCOMMIT\n"
    ruleset = Ruleset(iptables.tables(text, "ip", Tool.IPTABLES, "iptables"))
    packet = through(ruleset, PACKET, "prerouting").packet
    assert (str(packet.destination), packet.dport) == to


def payload(protocol: str, field: str) -> dict[str, Any]:
    """A field of a header."""
    return {"payload": {"protocol": protocol, "field": field}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A condition."""
    return {"match": {"op": op, "left": left, "right": right}}


DPORT, STATE, MARK = payload("tcp", "dport"), {"ct": {"key": "state"}}, {"meta": {"key": "mark"}}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (match(DPORT, 80), "stop"),
        (match(DPORT, 80, "!="), "pass"),
        (match(DPORT, {"range": [79, 81]}), "stop"),
        (match(DPORT, {"set": [22, {"range": [80, 90]}]}), "stop"),
        (match(payload("udp", "dport"), 80, "!="), "pass"),
        (match(payload("th", "dport"), 80), "stop"),
        (match(payload("ip", "saddr"), {"prefix": {"addr": "192.0.2.0", "len": 24}}), "stop"),
        (match(payload("ip6", "saddr"), "::1", "!="), "pass"),
        (match(payload("ip", "saddr"), "@known"), "stop"),
        (match(payload("ip", "saddr"), "@unheard"), "doubt"),
        (match(payload("ip", "ttl"), 64), "doubt"),
        (match({"meta": {"key": "iifname"}}, "eth*"), "stop"),
        (match({"meta": {"key": "oifname"}}, {"set": ["lo", "hp*"]}), "stop"),
        (match({"meta": {"key": "nfproto"}}, "ipv6"), "pass"),
        (match({"meta": {"key": "l4proto"}}, {"set": ["tcp", "udp"]}), "stop"),
        (match(STATE, "new", "in"), "stop"),
        (match(STATE, ["established", "related"], "in"), "pass"),
        (match({"ct": {"key": "status"}}, "dnat", "in"), "stop"),
        (match({"ct": {"key": "direction"}}, "reply"), "pass"),
        (match({"ct": {"key": "ip daddr", "dir": "original"}}, "192.0.2.1"), "stop"),
        (match({"ct": {"key": "ip6 daddr", "dir": "original"}}, "::1"), "pass"),
        (match({"ct": {"key": "proto-dst", "dir": "original"}}, 8080), "stop"),
        (match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), "pass"),
        (match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, right=False), "pass"),
        (match({"&": [MARK, 255]}, 0), "stop"),
        (match(MARK, 1), "pass"),
        (match({"&": [payload("tcp", "flags"), ["syn", "ack"]]}, "syn"), "stop"),
        (match({"&": [payload("tcp", "flags"), {"|": ["syn", "ack"]}]}, {"|": ["syn", "ack"]}),
         "pass"),
        (match({"concat": [payload("ip", "saddr"), DPORT]},
               {"set": [{"concat": [{"prefix": {"addr": "192.0.2.0", "len": 30}}, 80]}]}), "pass"),
        (match({"concat": [payload("ip", "saddr"), DPORT]},
               {"set": [{"concat": [{"prefix": {"addr": "192.0.2.0", "len": 28}}, 80]}]}), "stop"),
        (match({"exthdr": {"name": "frag"}}, right=True), "pass"),
        (match({"osf": {"key": "name"}}, "Linux"), "doubt"),
        (match(DPORT, 1024, "<"), "doubt"),
        ({"limit": {"rate": 5, "per": "second"}}, "doubt"),
        ({"xt": {"type": "match", "name": "set"}}, "doubt"),
        ("a word of an older nft", "doubt"),
        ({"counter": {"packets": 0, "bytes": 0}}, "stop"),
        ({"log": {"prefix": "x"}}, "stop"),
        ({"mangle": {"key": MARK, "value": 3}}, "stop"),
    ],
)  # fmt: skip
def test_expressions_of_nft(condition: Any, expected: str) -> None:  # noqa: ANN401 - JSON
    assert outcome(listed(condition, {"drop": None}, elements=["192.0.2.7"])) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"reject": None}, "stop"),
        ({"accept": None}, "pass"),
        ({"queue": {"num": 1}}, "doubt"),
        ({"tproxy": {"port": 3}}, "doubt"),
        ({"xt": {"type": "target", "name": "X"}}, "doubt"),
        ({"xt": None}, "doubt"),
        ({"vmap": {"key": STATE, "data": {"set": [["new", {"drop": None}]]}}}, "stop"),
        ({"vmap": {"key": STATE, "data": {"set": [["invalid", {"drop": None}]]}}}, "pass"),
        ({"vmap": {"key": payload("ip", "ttl"), "data": {"set": [[1, {"drop": None}]]}}}, "doubt"),
        ({"vmap": {"key": {"osf": {}}, "data": {"set": []}}}, "pass"),
    ],
)
def test_statements_of_nft(statement: Any, expected: str) -> None:  # noqa: ANN401 - JSON
    assert outcome(listed(statement)) == expected


def test_a_large_map_costs_no_more_than_a_small_one() -> None:
    """Its elements are looked up by their keys."""
    elements = [{"concat": ["tcp", port]} for port in range(1, 60_000)]
    key = {"concat": [{"meta": {"key": "l4proto"}}, payload("th", "dport")]}
    ruleset = listed(match(key, "@known"), {"drop": None}, elements=elements)
    (table,) = ruleset.tables
    (rule,) = table.chains["c"].rules
    assert rule.steps[0].among.loose == []  # type: ignore[union-attr] # it is a test
    assert outcome(ruleset) == "stop"


def test_answers_are_of_established_connections() -> None:
    drops = listed(match(STATE, "new", "in"), {"drop": None})
    assert outcome(drops, ANSWER) == "pass"
    assert outcome(saved("-A FORWARD -m conntrack --ctstate DNAT -j DROP"), ANSWER) == "stop"


def test_before_connection_tracking_a_packet_has_no_state() -> None:
    early = replace(PACKET, hook="prerouting", priority=-300)
    assert early.value("ct state") == frozenset({"invalid"})
    assert replace(early, priority=-150).value("ct state") == frozenset({"new"})


def test_rules_are_shown_as_nft_writes_them() -> None:
    chain = "\tchain c { # handle 2\n\t\ttcp dport 80 drop # handle 4\n\t}\n"
    text = f"table inet t {{ # handle 1\n{chain}}}\n"
    assert nft.rule_texts(text) == {("inet", "t", 4): "tcp dport 80 drop"}


def test_policies_are_read() -> None:
    (table,) = iptables.tables("*raw\n:PREROUTING DROP [1:2]\n", "ip", Tool.LEGACY, "x")
    chain = table.chains["PREROUTING"]
    assert (chain.policy, chain.priority, chain.hook) == (Act.DROP, -300, "prerouting")

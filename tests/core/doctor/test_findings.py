"""What the doctor says beside real firewalls, as they were recorded, and of a host's settings."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface

import pytest

from hostports.core.doctor.findings import Record, findings
from hostports.errors import RelayFailed
from hostports.model.address import Family
from hostports.model.condition import Condition, Inside, SavedTables
from hostports.model.event import Finding, Severity
from hostports.model.following import Following
from hostports.model.port import PortBinding, Protocol, SocketAddress
from tests.core.doctor.recordings import ENDPOINT, NAT, NETWORK, RECORD, RELAY, load, names

PROBLEM, WARNING, OK = Severity.PROBLEM, Severity.WARNING, Severity.OK
#: By recording: where packets by NAT and to the relay end, and the mends.
EXPECTED = {
    "nobody": (None, None),
    "nftables": (
        ("table inet others, chain passing, rule", "nft insert rule inet others passing ct status"),
        None,
    ),
    "docker": (
        ("table filter of iptables, chain FORWARD, its policy", "iptables -I DOCKER-USER -m"),
        None,
    ),
    "legacy": (
        ("table filter of iptables-legacy, chain FORWARD", "iptables-legacy -I FORWARD -m"),
        ("table filter of iptables-legacy, chain INPUT, rule", "iptables-legacy -I INPUT -p tcp"),
    ),
    "ufw": (
        ("chain FORWARD, its policy DROP", "ufw route allow proto tcp from any to 10.90.0.2 port"),
        ("chain ufw-user-input, rule", "ufw delete deny 8082/tcp; ufw prepend allow 8082/tcp"),
    ),
    "firewalld": (
        None,
        (
            "table inet firewalld, chain filter_IN_public, rule",
            "firewall-cmd --permanent --zone=public --add-port=8082/tcp && firewall-cmd --reload",
        ),
    ),
}


NETNS = "/run/netns/x"
ENTERED = replace(RECORD, endpoints=[replace(ENDPOINT, namespace=NETNS)])
#: A container with all that it needs.
INSIDE = Inside(
    frozenset([SocketAddress(Protocol.TCP, IPv4Address("0.0.0.0"), 80)]),
    own=(IPv4Network("127.0.0.0/8"), IPv4Network("10.90.0.2/32")),
    routes=(IPv4Network("0.0.0.0/0"), IPv4Network("10.90.0.0/24")),
)


def of(binding: PortBinding, found: list[Finding]) -> Finding:
    """What is said of a binding; the worst comes first."""
    return next(each for each in found if str(binding.host_socket) in each.ports)


def host(name: str = "nobody", **changed: object) -> Condition:
    """A recorded host, in parts another one."""
    return replace(load(name), **changed)  # type: ignore[arg-type] # what a test wants


#: Those of the recorded host.
INTERFACES = load("nobody").interfaces


def test_there_is_an_expectation_for_each_recording() -> None:
    assert names() == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_beside_a_real_firewall_the_place_and_the_mend_are_told(name: str) -> None:
    found = findings(load(name), RECORD)
    for binding, expected in zip((NAT, RELAY), EXPECTED[name], strict=True):
        told = of(binding, found)
        if expected is None:
            assert told.severity is OK
        else:
            where, mend = expected
            assert (told.severity, told.mend[: len(mend)]) == (PROBLEM, mend)
            assert where in told.where
            assert told.where in told.what


@pytest.mark.parametrize("name", ["firewalld", "ufw"])
def test_thousands_of_ports_behind_one_rule_are_one_thing_to_mend(name: str) -> None:
    """Also where each needs a mend of its own; problems come first."""
    more = [replace(RELAY, host_port=port) for port in range(9000, 9100)]
    first, *others = findings(load(name), replace(RECORD, bindings=[NAT, *more]))
    assert first.severity is PROBLEM
    assert len(others) < 3
    (many,) = (each for each in [first, *others] if len(each.ports) == len(more))
    assert "nat1 0.0.0.0:9000-9099/tcp: not reached" in many.what
    assert many.mend.endswith("  # and so for the others, 100 in all")


def test_without_ports_and_networks_nothing_is_in_the_way() -> None:
    (told,) = findings(load("nobody"), Record())
    assert (told.severity, told.mend) == (OK, "")


def test_a_network_without_ports_is_tried_with_an_example() -> None:
    (told,) = findings(load("docker"), Record([NETWORK], [ENDPOINT]))
    assert told.severity is PROBLEM
    assert told.what.startswith("ports published by NAT would not be reached")


def test_our_table_is_missed() -> None:
    """Then the relay serves what NAT would, so the port is reached nevertheless."""
    told = findings(host(nft="", nft_text=""), RECORD)
    assert (told[0].severity, told[0].mend) == (PROBLEM, "hostports reload")
    assert of(NAT, told).what.endswith("by the relay")


def test_without_our_table_and_a_relay_nobody_serves() -> None:
    told = of(NAT, findings(host(nft="", nft_text=""), replace(RECORD, relay=False)))
    assert (told.severity, told.mend) == (PROBLEM, "hostports reload")


def test_a_relay_that_has_gone_is_told() -> None:
    condition = host(listening=frozenset())
    told = findings(condition, replace(RECORD, silent=RelayFailed("the relay is gone")))
    assert told[0].what == "the relay is gone"
    assert "nothing listens" in of(RELAY, told).what
    assert of(NAT, told).severity is OK


def test_a_host_that_is_no_router_forwards_nothing() -> None:
    told = findings(host(settings={}), RECORD)
    assert told[0].mend == "sysctl -w net.ipv4.ip_forward=1"
    assert "does not forward" in of(NAT, told).what
    assert of(RELAY, told).severity is OK


def test_containers_that_are_kept_apart_need_br_netfilter() -> None:
    apart = replace(RECORD, networks=[replace(NETWORK, icc=False)])
    settings = {"net.ipv4.ip_forward": "1"}
    call = "net.bridge.bridge-nf-call-iptables"
    for value, mend in (("", "modprobe br_netfilter && sysctl -w "), ("0", "sysctl -w ")):
        condition = host(settings=settings | {call: value})
        told = next(each for each in findings(condition, apart) if each.mend)
        assert told.mend == f"{mend}{call}=1"
        assert ("br_netfilter is not loaded" in told.what) == (not value)


@pytest.mark.parametrize("interface", ["uplink0", "hp-nat"])
def test_an_interface_that_does_not_forward_keeps_out_what_goes_by_nat(interface: str) -> None:
    """What comes in by it: requests, or answers."""
    key = f"net.ipv4.conf.{interface}.forwarding"
    condition = load("nobody")
    for value, severity in (("1", OK), ("0", PROBLEM)):
        closed = replace(condition, settings={**condition.settings, key: value})
        told = of(NAT, findings(closed, RECORD))
        assert (told.severity, told.mend) == (severity, f"sysctl -w {key}=1" * (value == "0"))
        assert of(RELAY, findings(closed, RECORD)).severity is OK


def test_dots_of_an_interface_are_slashes_in_its_setting() -> None:
    """So sysctl(8) tells them from those of the setting."""
    condition = load("nobody")
    vlan = {"lan.7" if name == "uplink0" else name: own for name, own in INTERFACES.items()}
    key = "net.ipv4.conf.lan/7.forwarding"
    closed = replace(condition, interfaces=vlan, settings={**condition.settings, key: "0"})
    assert of(NAT, findings(closed, RECORD)).mend == f"sysctl -w {key}=1"


@pytest.mark.parametrize("missing", ["bridge", "address"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_bridge_that_is_down_or_without_its_address_is_told(
    missing: str,
    existing: bool,  # noqa: FBT001 - pytest
) -> None:
    """Where others have their bridge's addresses is their business."""
    record = replace(RECORD, networks=[replace(NETWORK, existing=existing)])
    interfaces = {**INTERFACES, "hp-nat": ()}
    if missing == "bridge":
        del interfaces["hp-nat"]
    for binding in (NAT, RELAY):
        told = of(binding, findings(host(interfaces=interfaces), record))
        if existing and missing == "address":
            assert told.severity is OK
        else:
            assert told.severity is PROBLEM
            assert "hp-nat" in told.what
            assert told.mend == ("ip link set hp-nat up" if existing else "hostports reload")


def test_a_container_that_has_lost_its_address_or_its_way_out_is_told() -> None:
    """The relay is beside it, so it needs no way out to answer it."""
    lost = replace(INSIDE, own=(IPv4Network("127.0.0.0/8"),))
    shut = replace(INSIDE, routes=(IPv4Network("10.90.0.0/24"),))
    cases = ((INSIDE, OK, OK), (lost, PROBLEM, PROBLEM), (shut, PROBLEM, OK))
    for inside, *severities in cases:
        found = findings(host(inside={NETNS: inside}), ENTERED)
        told = [of(each, found) for each in (NAT, RELAY)]
        assert [each.severity for each in told] == severities
        assert {each.mend for each in told if each.severity is PROBLEM} <= {"hostports reload"}


def test_a_strict_reverse_path_check_between_two_uplinks_is_told() -> None:
    condition = load("nobody")
    strict = replace(
        condition,
        uplinks={Family.IPV4: ("uplink0", "trust0")},
        settings={**condition.settings, "net.ipv4.conf.trust0.rp_filter": "1"},
    )
    found = findings(strict, RECORD)
    (told,) = (each for each in found if each.severity is WARNING)
    assert told.mend == "sysctl -w net.ipv4.conf.trust0.rp_filter=2"
    assert {each.what.partition("reached from ")[2] for each in found if each.ports} == {
        "uplink0 by NAT",
        "uplink0 by the relay",
    }


def test_a_default_route_by_a_bridge_of_ours_is_no_way_in() -> None:
    """As where a container is the host's router: clients come by the other interfaces."""
    for binding in (NAT, RELAY):
        told = of(binding, findings(host(uplinks={Family.IPV4: ("hp-nat",)}), RECORD))
        assert "reached from uplink0 and trust0 by" in told.what


def test_a_source_that_the_host_does_not_have_is_told() -> None:
    def told(ip: str) -> list[str]:
        network = replace(NETWORK, host_ipv4=IPv4Address(ip))
        found = findings(load("nobody"), replace(RECORD, networks=[network]))
        return [each.mend for each in found if f"has the source {ip}" in each.what]

    assert told("192.0.2.99") == ["give it to an interface"]
    assert told("10.9.0.1") == []


def test_tables_that_nobody_can_read_are_told() -> None:
    told = findings(host(unread=(Family.IPV4,)), RECORD)
    assert any("iptables-legacy has rules" in each.what for each in told)


def test_a_bridge_table_is_told_not_to_be_followed() -> None:
    nft = '{"nftables": [{"table": {"family": "bridge", "name": "strange"}}]}'
    told = findings(host(nft=nft), RECORD)
    assert any("bridge strange" in each.what and each.severity is WARNING for each in told)


def test_an_address_that_the_host_has_lost_is_told() -> None:
    lost = replace(NAT, host_ip=ip_address("192.0.2.99"))
    told = of(lost, findings(load("nobody"), replace(RECORD, bindings=[lost])))
    assert (told.severity, "192.0.2.99" in told.what) == (PROBLEM, True)


def test_who_is_not_allowed_is_no_problem() -> None:
    """A client is taken from the allowlist; for a family without one there is none."""
    narrow = replace(NAT, allow_from=(IPv4Network("198.51.100.0/24"),))
    told = of(narrow, findings(load("nobody"), replace(RECORD, bindings=[narrow])))
    assert told.severity is OK
    other = replace(NAT, host_ip=ip_address("::"), allow_from=narrow.allow_from)
    told = of(other, findings(load("nobody"), replace(RECORD, bindings=[other])))
    assert told.what.endswith("its allowlist lets nobody of its family in")


@pytest.mark.parametrize(
    ("listening", "said"),
    [
        ([], "nothing in nat1 listens on port 80/tcp"),
        (["127.0.0.1"], "nothing in nat1 listens on port 80/tcp but on 127.0.0.1"),
        (["0.0.0.0"], "reached"),
        (["10.90.0.2"], "reached"),
    ],
)
def test_a_container_must_listen_where_it_is_asked(listening: list[str], said: str) -> None:
    inside = replace(
        INSIDE,
        listening=frozenset(SocketAddress(Protocol.TCP, IPv4Address(ip), 80) for ip in listening),
    )
    told = of(NAT, findings(host(inside={NETNS: inside}), ENTERED))
    assert said in told.what
    assert told.severity is (OK if said == "reached" else WARNING)


def test_each_rule_that_may_be_in_the_way_is_told() -> None:
    """Not only the first or the last."""
    limits = "-A FORWARD -m limit --limit 5/sec -j DROP\n"
    text = f"*filter\n:FORWARD ACCEPT [0:0]\n{limits}{limits.replace('5', '6')}COMMIT\n"
    saved = (SavedTables(Family.IPV4, "iptables-legacy", text, legacy=True),)
    found = [each for each in findings(host(saved=saved), RECORD) if each.severity is WARNING]
    assert {each.where.partition("rule ")[2] for each in found} == {
        f"`{each.strip()}`" for each in (limits, limits.replace("5", "6"))
    }


def test_a_port_on_loopback_is_tried_from_the_host_itself() -> None:
    local = replace(NAT, host_ip=ip_address("127.0.0.1"), host_port=8082)
    told = of(local, findings(load("nobody"), replace(RECORD, bindings=[local])))
    assert told.what.endswith("reached from this host by the relay")
    told = of(local, findings(load("nobody"), replace(RECORD, bindings=[local], relay=False)))
    assert told.severity is PROBLEM


@pytest.mark.parametrize(
    ("namespace", "mend"),
    [
        (
            "/run/netns/nat1",
            "make it again, and `hostports reload`; or `hostports endpoint rm nat1`",
        ),
        ("/proc/812/ns/net", "`hostports endpoint rm nat1`, which unpublishes its ports, and add"),
    ],
)
def test_an_endpoint_that_nothing_leads_to_is_told_instead_of_its_ports(
    namespace: str, mend: str
) -> None:
    """A process's number may be another one's by now, so its namespace can't be made again."""
    gone = replace(ENDPOINT, namespace=namespace)
    first, *others = findings(host(), replace(RECORD, detached=[gone]))
    assert (first.severity, first.ports) == (
        PROBLEM,
        tuple(str(each.host_socket) for each in RECORD.bindings),
    )
    assert first.what.startswith("endpoint 'nat1' is not attached")
    assert first.mend.startswith(mend)
    assert not any(each.ports for each in others)


def test_an_interface_that_is_followed_and_has_no_address_is_told() -> None:
    """What has an address by itself, or by a wildcard, or is lost there, is told otherwise."""
    follows = Following("nat1", "dial0", Protocol.TCP, 8080, 80)
    waiting = replace(RECORD, bindings=[RELAY], followings=[follows])
    (told,) = (each for each in findings(host(), waiting) if each.severity is WARNING)
    assert told.what == "nat1 dial0:8080:80/tcp: dial0 has no address to publish it on"
    bound = replace(NAT, host_ip=ip_address("10.9.0.1"))
    followed = replace(bound, interface="dial0")
    up = host(interfaces={"dial0": (ip_interface("10.9.0.1/24"),)})
    for condition, bindings in ((host(), [NAT]), (host(), [followed]), (up, [bound])):
        record = replace(RECORD, bindings=bindings, followings=[follows])
        assert not any("no address" in each.what for each in findings(condition, record))
    lost = replace(waiting, lost=[(followed, RelayFailed("taken"))])
    assert not any("no address" in each.what for each in findings(host(), lost))

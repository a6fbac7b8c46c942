"""What the firewall is told, as text: golden files, and that a delta is no more than needed."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.core.rules.listing import differences, lacking, sizes
from hostports.core.rules.nft import change_script
from hostports.core.rules.settings import needed
from hostports.core.rules.state import RulesState
from hostports.errors import FirewallFailed, UnusableValue
from hostports.model.firewall import FirewallChange, FirewallItem
from hostports.model.port import SocketAddress
from tests.golden.rulesets import GOLDEN, NETWORKS, texts

TEXTS = texts()
NETWORK = NETWORKS["nat"]
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), IPv6Address("fd30::2"))


def binding(port: int, host_ip: str = "0.0.0.0", container_port: int = 80) -> PortBinding:
    ip = ip_address(host_ip)
    container_ip = WEB.ipv4 if ip.version == 4 else WEB.ipv6
    assert container_ip
    return PortBinding("nat", "web", Protocol.TCP, ip, port, container_ip, container_port)


@pytest.mark.parametrize("name", TEXTS)
def test_a_ruleset_is_the_golden_one(name: str) -> None:
    """`make golden` writes the files anew; what changes in them is to be read."""
    assert TEXTS[name] == (GOLDEN / f"{name}.nft").read_text(encoding="utf-8")


def test_there_is_no_golden_file_too_many() -> None:
    assert {each.stem for each in GOLDEN.glob("*.nft")} == TEXTS.keys()


def made(*opened: FirewallItem) -> RulesState:
    return RulesState.holding(opened, Settings())


def test_what_is_open_already_changes_nothing() -> None:
    state = made(NETWORK, WEB, binding(8080))
    assert state.planned(FirewallChange(opened=(NETWORK, WEB, binding(8080)))).empty


def test_closing_what_is_not_open_changes_nothing() -> None:
    assert made(NETWORK).planned(FirewallChange(closed=(WEB, binding(8080)))).empty


def test_what_two_bindings_share_goes_with_the_last() -> None:
    state = made(NETWORK, binding(8080), binding(8081))
    first = state.planned(FirewallChange(closed=(binding(8080),)))
    assert "open4" not in [each.collection for each in first.removed]
    state.commit(first)
    last = state.planned(FirewallChange(closed=(binding(8081),)))
    assert "open4" in [each.collection for each in last.removed]


def test_a_network_may_go_before_its_endpoints_and_ports() -> None:
    """The chain that protects an endpoint stays as long as the endpoint."""
    state = made(NETWORK, WEB, binding(8080))
    gone = state.planned(FirewallChange(closed=(NETWORK,)))
    assert "direct_br0" not in gone.removed_chains
    state.commit(gone)
    assert "direct_br0" in state.planned(FirewallChange(closed=(WEB,))).removed_chains


def test_a_network_that_changes_keeps_its_chains_and_gets_new_rules() -> None:
    state = made(NETWORK)
    other = replace(NETWORK, host_ipv4=IPv4Address("192.0.2.1"))
    delta = state.planned(FirewallChange(opened=(other,), closed=(NETWORK,)))
    assert (delta.removed, delta.added, delta.removed_chains) == ((), (), ())
    assert "snat ip to 192.0.2.1" in change_script(delta)


def test_a_port_of_an_unknown_network_is_refused() -> None:
    with pytest.raises(FirewallFailed, match="network 'nat' is not in the firewall; add the"):
        RulesState(Settings()).planned(FirewallChange(opened=(binding(8080),)))


def test_a_network_without_a_bridge_is_refused() -> None:
    with pytest.raises(FirewallFailed, match="network 'lab' has no bridge"):
        made(BridgeNetwork("lab"))


def test_ten_thousand_ports_are_one_command_for_each_collection() -> None:
    change = FirewallChange(opened=tuple(binding(port) for port in range(1, 10_001)))
    script = change_script(made(NETWORK).planned(change))
    assert len(script.splitlines()) == 4


ITEMS: list[FirewallItem] = [
    NETWORK,
    WEB,
    binding(8080),
    binding(8081),
    binding(8080, "::"),
    binding(8082, "192.0.2.1"),
]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(ITEMS[1:])), max_size=30))
def test_the_table_holds_what_is_open_whatever_came_before(
    steps: list[tuple[bool, FirewallItem]],
) -> None:
    state = made(NETWORK)
    open_now: dict[FirewallItem, None] = {NETWORK: None}
    for opened, item in steps:
        change = FirewallChange((item,), ()) if opened else FirewallChange((), (item,))
        state.commit(state.planned(change))
        if opened:
            open_now[item] = None
        else:
            open_now.pop(item, None)
    fresh = made(*open_now).whole()
    assert sorted(state.whole().added) == sorted(fresh.added)
    assert set(state.whole().written_chains) == set(fresh.written_chains)


def test_a_change_and_its_reverse_leave_nothing() -> None:
    state = RulesState(Settings())
    change = FirewallChange(opened=tuple(ITEMS))
    state.commit(state.planned(change))
    state.commit(state.planned(change.reversed()))
    assert state.whole().empty


def test_settings_of_the_kernel_are_those_that_networks_need() -> None:
    assert needed([NETWORKS["internal"]]) == {}
    assert needed([NETWORKS["ipv4-only"]]) == {"net.ipv4.ip_forward": "1"}
    assert list(needed([NETWORKS["no-icc"]])) == [
        "net.ipv4.ip_forward",
        "net.bridge.bridge-nf-call-iptables",
        "net.ipv6.conf.default.forwarding",
        "net.ipv6.conf.all.forwarding",
        "net.bridge.bridge-nf-call-ip6tables",
    ]


@pytest.mark.parametrize("name", ['br"0', "br 0", "a-name-that-is-too-long", "br0;drop", "{"])
def test_a_name_that_would_break_a_rule_is_refused(name: str) -> None:
    with pytest.raises(UnusableValue):
        BridgeNetwork("lab", bridge=name)
    with pytest.raises(UnusableValue):
        BridgeNetwork("lab", trusted_host_interfaces=(name,))


def test_what_protects_is_all_that_forbids_and_nothing_that_leads_to_ports() -> None:
    allowed = replace(binding(8082), allow_from=(ip_network("192.0.2.0/24"),))
    loopback = SocketAddress(Protocol.TCP, ip_address("127.0.0.1"), 9000)
    inside = replace(binding(8083), child=loopback)
    opened = (NETWORK, WEB, binding(8080), binding(8081, "127.0.0.1"), allowed, inside)
    everything, protections = made(*opened).whole(), made(*opened).protections()
    assert set(protections.added) < set(everything.added)
    left_out = {each.collection for each in set(everything.added) - set(protections.added)}
    assert left_out == {
        *("dnat4", "dnat_any4", "traffic4", "traffic_any4", "own4", "own_any4", "open4")
    }
    assert {"loopback4", "limited_any4", "allowed_any4"} <= {
        each.collection for each in protections.added
    }
    assert sum(each.collection == "loopback4" for each in protections.added) == 2
    assert protections.written_chains == everything.written_chains


LISTED = """table inet hostports {
\tmap dnat_any4 {
\t\ttype inet_proto . inet_service : ipv4_addr . inet_service
\t\tcounter
\t\telements = { tcp . 8080 counter : 172.30.0.2 . 80,
\t\t\t     udp . 53 counter : 172.30.0.2 . 53 }
\t}

\tset mine {
\t\ttype ipv4_addr
\t}

\tchain early {
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tip daddr vmap @protected4 comment "a, b"
\t}

\tchain isolated {
\t}
}
"""


def test_what_is_there_is_counted_but_for_what_is_the_users() -> None:
    found = sizes(LISTED)
    assert found == {"dnat_any4": 2, "early": 1, "isolated": 0}
    assert differences(found, found) == []
    assert differences({**found, "early": 2, "publish": 3}, found) == [
        "publish is missing",
        "early has 1 entries instead of 2",
    ]
    assert lacking({**found, "early": 2}, found)
    assert not lacking({**found, "early": 0}, found)


@given(st.sets(st.integers(1, 200), max_size=20), st.sets(st.integers(1, 200), max_size=20))
def test_how_much_there_must_be_is_known_after_every_change(
    opened: set[int], closed: set[int]
) -> None:
    state = made(NETWORK, WEB)
    for change in (
        FirewallChange(opened=tuple(binding(8000 + each) for each in opened)),
        FirewallChange(closed=tuple(binding(8000 + each) for each in closed)),
    ):
        state.commit(state.planned(change))
    found = state.sizes()
    assert found["dnat_any4"] == found["traffic_any4"] == len(opened - closed)
    assert found["open4"] == bool(opened - closed)

"""What iptables is told, as text: golden files, and in which order."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import PortBinding
from hostports.core.rules.data import Element, Settings
from hostports.core.rules.iptables import listing
from hostports.core.rules.iptables.items import ITEMS
from hostports.core.rules.iptables.script import change_script
from hostports.core.rules.state import RulesState
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem
from tests.core.test_rules import NETWORK, WEB, binding
from tests.golden.rulesets import GOLDEN, iptables_texts

TEXTS = iptables_texts()
LIMITED = replace(binding(8080), allow_from=(ip_network("192.0.2.0/24"),))
LOOPBACK = binding(8081, "127.0.0.1")


@pytest.mark.parametrize("name", TEXTS)
def test_a_ruleset_is_the_golden_one(name: str) -> None:
    """`make golden` writes the files anew; what changes in them is to be read."""
    assert TEXTS[name] == (GOLDEN / f"{name}.iptables").read_text(encoding="utf-8")


def test_there_is_no_golden_file_too_many() -> None:
    assert {each.stem for each in GOLDEN.glob("*.iptables")} == TEXTS.keys()


def made(*opened: FirewallItem) -> RulesState:
    return RulesState.holding(opened, Settings(), ITEMS)


def nothing(_: str) -> list[Element]:
    return []


def script(state: RulesState, change: FirewallChange) -> list[str]:
    return change_script(Family.IPV4, state.planned(change), nothing).splitlines()


@pytest.mark.parametrize("port", [LIMITED, LOOPBACK], ids=["allowlist", "loopback"])
def test_what_protects_a_port_is_there_before_it_and_stays_until_it_is_gone(
    port: PortBinding,
) -> None:
    """Each table is a transaction of its own, so the order of tables is the order of things."""
    state = made(NETWORK, WEB)
    change = FirewallChange(opened=(port,))
    opening = [each for each in script(state, change) if "DROP" in each or "DNAT" in each]
    assert ["-j DROP" in each for each in opening if "-A" in each] == [True, False]
    state.commit(state.planned(change))
    closing = script(state, change.reversed())
    protecting = closing.index("*raw" if port is LOOPBACK else "*mangle")
    assert closing.index("*nat") < min(protecting, closing.index("*filter"))


def test_a_port_that_moves_is_there_at_its_new_place_before_it_leaves_the_old_one() -> None:
    moved = FirewallChange(opened=(binding(8082),), closed=(binding(8080),))
    dnat = [each for each in script(made(NETWORK, WEB, binding(8080)), moved) if "DNAT" in each]
    assert [each[:2] for each in dnat] == ["-A", "-D"]


def test_a_chain_that_is_written_anew_keeps_what_is_new_in_it() -> None:
    former = tuple(binding(port) for port in range(20_000, 20_200))
    state = made(NETWORK, WEB, *former)
    change = FirewallChange(opened=(binding(9000),), closed=former)
    lines = script(state, change)
    anew = lines[lines.index("-F HP-PUBLISH") :]
    anew = anew[: anew.index("COMMIT")]
    assert [each.split()[1] for each in anew if "--dport 9000 " in each] == ["HP-PUBLISH"]


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
    assert found["4 nat HP-PUBLISH"] == len(opened - closed)
    assert found["4 filter HP-open-br0"] == bool(opened - closed)


SAVED = """# Generated
*nat
:PREROUTING ACCEPT [0:0]
:HP-PUBLISH - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j HP-PUBLISH
-A PREROUTING -j HP-FORMERLY
-A HP-PUBLISH -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.30.0.2:80
COMMIT
*filter
:HP-USER - [0:0]
:HP-FORWARD - [0:0]
-A FORWARD -s 192.0.2.1/32 -j HP-USER
-A HP-FORWARD -j HP-USER
COMMIT
"""


def test_every_jump_to_our_chains_is_ours_but_those_to_the_users() -> None:
    """Also one of another version, or in another iptables' words: it would keep the chain."""
    found = listing.present(SAVED).jumps
    assert [each.rule for each in found] == [
        "-m addrtype --dst-type LOCAL -j HP-PUBLISH",
        "-j HP-FORMERLY",
    ]


def test_rules_are_counted_but_for_the_users() -> None:
    assert listing.sizes(Family.IPV4, SAVED) == {"4 nat HP-PUBLISH": 1, "4 filter HP-FORWARD": 1}


def test_addresses_of_counters_are_those_of_the_host() -> None:
    saved = (
        "*nat\n[7:420] -A HP-PUBLISH ! -i br0 -d 192.0.2.1/32 -p tcp -m tcp --dport 8080"
        " -j DNAT --to-destination 172.30.0.2:80\n"
        "*mangle\n[9:900] -A HP-count-1 -p tcp -m conntrack --ctorigdst 192.0.2.1"
        " --ctorigdstport 8080 -j RETURN\n"
    )
    ((socket, counted),) = listing.traffic(Family.IPV4, saved).items()
    assert (socket.ip, socket.port) == (ip_address("192.0.2.1"), 8080)
    assert (counted.connections, counted.packets, counted.bytes) == (7, 9, 900)

"""The firewall, proven by packets; and every rule, proven by what happens without it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.firewall_checks import CHECKS, MODES, SILENCE, SPECIALS, Host, host
from tests.netns.namespaces import nft
from tests.netns.packets import spoofed_syn_arrives


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[Host]:
    with host(MODES[request.param]) as made:
        yield made


@pytest.fixture(scope="module")
def wrong(world: Host) -> dict[str, str]:
    """What is not as it should be; all is asked side by side."""
    return world.wrong()


@pytest.mark.parametrize("name", [*(each.name for each in CHECKS), "link-local", *SPECIALS])
def test_the_right_ones_are_let_through_and_no_others(wrong: dict[str, str], name: str) -> None:
    assert wrong.get(name) is None


def rules(world: Host) -> dict[tuple[str, str], str]:
    """Every rule of the table but the user's, as chain and text, with its handle."""
    with world.entered():
        listed = nft("-a", "-t", "-s", "list", "table", "inet", "hostports")
    found: dict[tuple[str, str], str] = {}
    for chain, body in re.findall(r"\tchain (\S+) \{[^\n]*\n(.*?)\t\}", listed, re.DOTALL):
        for text, handle in re.findall(r"\t\t(.*) # handle (\d+)\n", body):
            if chain != "user":
                found[chain, text] = handle
    return found


def test_no_rule_can_be_missing(world: Host) -> None:
    """Each rule is taken out on its own; something must go wrong every time."""
    assert world.wrong() == {}
    idle = []
    for chain, text in rules(world):
        handle = rules(world)[chain, text]
        with world.entered():
            nft("delete", "rule", "inet", "hostports", chain, "handle", handle)
        if world.seems_right():
            idle.append(f"{chain}: {text}")
        with world.entered():
            world.firewall.rebuild()
    assert idle == []


def test_ghsa_jv3w_x3r3_g6rm_transit_traffic_is_not_taken(wrong: dict[str, str]) -> None:
    """A published port must not catch what is on its way to the same port of another host."""
    assert wrong.get("transit to a published port is not ours") is None


def test_cve_2020_8558_loopback_is_not_reachable_from_the_network(world: Host) -> None:
    """With route_localnet, services on loopback were; we leave it off, and drop what is spoofed."""
    assert not spoofed_syn_arrives(world.lab, "127.0.0.1", 8082, "a1", 80, SILENCE)
    with world.entered():
        settings = Path("/proc/sys/net/ipv4/conf").glob("*/route_localnet")
        on = {each.parent.name for each in settings if each.read_text(encoding="ascii") != "0\n"}
    # The lab switches it on itself where an attacker would want it.
    assert on == {"uplink0"}


@pytest.fixture
def reloaded(world: Host) -> Host:
    """The host after somebody has flushed all rules, as a firewall's reload does."""
    with world.entered():
        nft("flush", "ruleset")
        world.firewall.rebuild()
        world.let_user_drop()
    return world


def test_cve_2025_54388_loopback_ports_stay_local_after_a_reload(reloaded: Host) -> None:
    assert not spoofed_syn_arrives(reloaded.lab, "127.0.0.1", 8082, "a1", 80, SILENCE)


def test_cve_2025_54410_networks_stay_isolated_after_a_reload(reloaded: Host) -> None:
    assert reloaded.wrong() == {}

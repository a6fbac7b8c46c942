"""One suite for the fake firewall, nftables and iptables: what `Firewall` promises, all keep."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

import pytest

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.errors import FirewallFailed
from hostports.interfaces import Firewall
from hostports.linux.iptables import Iptables, IptablesFirewall
from hostports.linux.nftables import NftablesFirewall
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange
from hostports.testing import FakeFirewall, Faults
from tests.netns.namespaces import namespace, nft
from tests.netns.refusing import refusing

NETWORK = BridgeNetwork(
    "lab",
    bridge="br0",
    subnet_ipv4=IPv4Network("172.30.0.0/24"),
    subnet_ipv6=IPv6Network("fd30::/64"),
)
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), IPv6Address("fd30::2"))


def binding(port: int, ip: str = "0.0.0.0", container_port: int = 80) -> PortBinding:
    host_ip = ip_address(ip)
    container_ip = WEB.ipv4 if host_ip.version == 4 else WEB.ipv6
    assert container_ip
    return PortBinding("lab", "web", Protocol.TCP, host_ip, port, container_ip, container_port)


class Case(NamedTuple):
    """A firewall, what it holds, ways to make its next change fail, and to damage a part of it."""

    firewall: Firewall
    held: Callable[[], object]
    break_it: Callable[[], None]
    mend_it: Callable[[], None]
    part: str
    damage_part: Callable[[], object]


@contextmanager
def fake() -> Iterator[Case]:
    faults = Faults()
    firewall = FakeFirewall(faults)

    def fail(*calls: int) -> None:
        faults.failing = {"firewall.apply": calls}

    yield Case(firewall, firewall.dump, lambda: fail(-1), fail, "any", firewall.flush)


@contextmanager
def nftables() -> Iterator[Case]:
    with namespace() as host, host.entered():
        firewall = NftablesFirewall(Settings())
        # A key that leads elsewhere already can't be added: nft refuses the whole script.
        clash = "element inet hostports dnat_any4 { tcp . 9999 : 172.30.0.9 . 9 }\n"
        yield Case(
            firewall,
            firewall.listed,
            lambda: firewall.run(f"add {clash}"),
            lambda: firewall.run(f"delete {clash}"),
            "dnat_any4",
            lambda: nft("flush map inet hostports dnat_any4"),
        )


@contextmanager
def iptables(variant: str) -> Iterator[Case]:
    with refusing(f"iptables{variant}-restore") as flag, namespace() as host, host.entered():
        firewall = IptablesFirewall(Settings(), iptables=Iptables(variant))
        yield Case(
            firewall,
            firewall.listed,
            flag.touch,
            lambda: flag.unlink(missing_ok=True),
            "4 nat HP-PUBLISH",
            lambda: Iptables(variant).restore(Family.IPV4, "*nat\n-F HP-PUBLISH\nCOMMIT\n"),
        )


MADE: dict[str, Callable[[], AbstractContextManager[Case]]] = {
    "fake": fake,
    "nftables": nftables,
    "iptables-nft": partial(iptables, "-nft"),
    "iptables-legacy": partial(iptables, "-legacy"),
}


@pytest.fixture(params=[*MADE])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with MADE[request.param]() as case:
        case.firewall.apply(FirewallChange(opened=(NETWORK, WEB)))
        yield case


def test_a_change_and_its_reverse_leave_it_as_it_was(case: Case) -> None:
    before = case.held()
    change = FirewallChange(opened=(binding(8080), binding(8080, "::"), binding(8081, "192.0.2.1")))
    case.firewall.apply(change)
    assert case.held() != before
    case.firewall.apply(change.reversed())
    assert case.held() == before


def test_opening_twice_is_opening_once(case: Case) -> None:
    change = FirewallChange(opened=(binding(8080),))
    case.firewall.apply(change)
    once = case.held()
    case.firewall.apply(change)
    assert case.held() == once


def test_closing_what_is_not_open_has_no_effect(case: Case) -> None:
    before = case.held()
    case.firewall.apply(FirewallChange(closed=(binding(8080), binding(8081, "::"))))
    assert case.held() == before


def test_what_bindings_share_stays_until_the_last_one_closes(case: Case) -> None:
    before = case.held()
    case.firewall.apply(FirewallChange(opened=(binding(8081),)))
    one = case.held()
    case.firewall.apply(FirewallChange(opened=(binding(8080),)))
    case.firewall.apply(FirewallChange(closed=(binding(8080),)))
    assert case.held() == one
    case.firewall.apply(FirewallChange(closed=(binding(8081),)))
    assert case.held() == before


def test_a_refused_change_changes_nothing(case: Case) -> None:
    case.break_it()
    before = case.held()
    change = FirewallChange(opened=(binding(8080), binding(9999)))
    with pytest.raises(FirewallFailed):
        case.firewall.apply(change)
    assert case.held() == before
    case.mend_it()
    case.firewall.apply(change)
    case.firewall.apply(change.reversed())


def test_one_change_opens_and_closes(case: Case) -> None:
    case.firewall.apply(FirewallChange(opened=(binding(8080),)))
    case.firewall.apply(FirewallChange(opened=(binding(8081),), closed=(binding(8080),)))
    moved = case.held()
    case.firewall.apply(FirewallChange(closed=(binding(8081),)))
    case.firewall.apply(FirewallChange(opened=(binding(8081),)))
    assert case.held() == moved


def test_sources_may_overlap_and_be_all(case: Case) -> None:
    before = case.held()
    sources = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0", "fd00::/8", "fd00::1/128")
    everywhere = replace(binding(8080), allow_from=tuple(map(ip_network, sources)))
    nested = replace(binding(8081), allow_from=tuple(map(ip_network, sources[1:3])))
    change = FirewallChange(opened=(everywhere, nested, replace(nested, host_port=8082)))
    case.firewall.apply(change)
    case.firewall.apply(change.reversed())
    assert case.held() == before


def test_items_go_in_any_order(case: Case) -> None:
    case.firewall.apply(FirewallChange(opened=(binding(8080),)))
    for item in (NETWORK, binding(8080), WEB):
        case.firewall.apply(FirewallChange(closed=(item,)))
    case.firewall.apply(FirewallChange(opened=(NETWORK, WEB, binding(8080))))


def test_ten_thousand_bindings_are_one_change(case: Case) -> None:
    before = case.held()
    change = FirewallChange(opened=tuple(binding(port) for port in range(20_000, 30_000)))
    case.firewall.apply(change)
    case.firewall.apply(change.reversed())
    assert case.held() == before


def test_a_part_that_is_made_anew_is_as_it_was(case: Case) -> None:
    change = FirewallChange(opened=tuple(binding(port) for port in range(20_000, 20_600)))
    case.firewall.apply(change)
    before = case.held()
    case.damage_part()
    assert case.held() != before
    case.firewall.rebuild({case.part})
    assert case.held() == before
    assert case.firewall.damage() == []
    case.firewall.apply(change.reversed())


def test_nothing_is_missing_where_nobody_else_changed_anything(case: Case) -> None:
    assert case.firewall.damage() == []
    case.firewall.apply(FirewallChange(opened=(binding(8080),)))
    assert case.firewall.damage() == []
    case.firewall.rebuild()
    assert case.firewall.damage() == []

"""One suite for the fake watch and the real ones of rules: what `Watch` promises, all keep."""

import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import pytest

from hostports.core.rules.data import Settings
from hostports.interfaces import Watch
from hostports.linux.iptables import Iptables, IptablesFirewall
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.rule_watch import RuleWatch, in_our_chains, in_our_table
from hostports.model.firewall import Damage, FirewallChange
from hostports.testing import FakeWatch
from tests.contract.test_firewall import NETWORK, WEB, binding
from tests.netns.namespaces import namespace, nft
from tests.relay.waiting import PATIENCE_S


class Case(NamedTuple):
    """A watch, what others may do, each with the part that it damages, and what we do ourselves."""

    watch: Watch[Damage]
    damages: Mapping[str, Callable[[], object]]
    ours: Callable[[], object]


@contextmanager
def fake() -> Iterator[Case]:
    watch = FakeWatch[Damage]()
    told = Damage(("rules of early deleted",), frozenset({"early"}))
    yield Case(watch, {"early": lambda: watch.tell([told])}, lambda: None)
    watch.close()


@contextmanager
def nftables() -> Iterator[Case]:
    with namespace() as host, host.entered():
        firewall = NftablesFirewall(Settings(), [NETWORK, WEB, binding(8080)])
        watch = RuleWatch(firewall.programs, in_our_table)
        damages = {
            "early": lambda: nft("flush chain inet hostports early"),
            "dnat_any4": lambda: nft("delete element inet hostports dnat_any4 { tcp . 8080 }"),
            "hostports": lambda: nft("delete table inet hostports"),
        }
        yield Case(watch, damages, lambda: change(firewall))
        watch.close()


@contextmanager
def iptables() -> Iterator[Case]:
    with namespace() as host, host.entered():
        firewall = IptablesFirewall(
            Settings(), [NETWORK, WEB, binding(8080)], iptables=Iptables("-nft")
        )
        watch = RuleWatch(firewall.iptables.programs, in_our_chains)
        damages = {
            "4 raw PREROUTING": lambda: nft("flush chain ip raw PREROUTING"),
            "4 nat HP-PUBLISH": lambda: nft("flush chain ip nat HP-PUBLISH"),
            "6 filter FORWARD": lambda: nft("flush chain ip6 filter FORWARD"),
            "4 filter HP-FORWARD": lambda: nft("delete table ip filter"),
        }
        yield Case(watch, damages, lambda: change(firewall))
        watch.close()


def change(firewall: NftablesFirewall | IptablesFirewall) -> None:
    """Everything that a daemon does with its rules."""
    opened = FirewallChange(opened=(binding(8081), binding(8081, "::")))
    firewall.apply(opened)
    firewall.apply(opened.reversed())
    firewall.rebuild()
    firewall.damage()
    firewall.traffic()


@pytest.fixture(params=[fake, nftables, iptables], ids=lambda made: made.__name__)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    made: Callable[[], AbstractContextManager[Case]] = request.param
    with made() as case:
        yield case


def readable(watch: Watch[Damage], seconds: float) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def test_nothing_is_told_as_long_as_others_do_nothing(case: Case) -> None:
    assert case.watch.read() == []
    case.ours()
    assert case.watch.read() == []
    assert not readable(case.watch, 0)


def test_what_others_do_is_told_once_with_the_part_that_it_concerns(case: Case) -> None:
    for part, damage in case.damages.items():
        damage()
        assert readable(case.watch, PATIENCE_S)
        (told,) = case.watch.read()
        assert part in told.parts
        assert case.watch.read() == []
        case.ours()
        assert case.watch.read() == []

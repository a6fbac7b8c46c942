"""The firewall on iptables, of both kinds: the same questions and answers as on nftables."""

import fcntl
import re
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from hostports import PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.core.rules.iptables.script import Present
from hostports.core.rules.iptables.skeleton import TABLES
from hostports.errors import DaemonThere, FirewallFailed
from hostports.linux import firewalls
from hostports.linux.iptables import Iptables, IptablesFirewall, installed
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.rule_watch import RuleWatch, in_our_chains
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem
from tests.contract.test_firewall import NETWORK, WEB, binding
from tests.netns.bare import no_router
from tests.netns.firewall_checks import CHECKS, MODES, SPECIALS, Host, host
from tests.netns.namespaces import Namespace, namespace, nft
from tests.netns.refusing import refusing

VARIANTS = ("-nft", "-legacy")
PROGRAMS, WHAT = ("iptables", "ip6tables"), ("save", "restore")


@pytest.fixture(
    scope="module", params=[(variant, mode) for variant in VARIANTS for mode in MODES], ids="".join
)
def world(request: pytest.FixtureRequest) -> Iterator[Host]:
    variant, mode = request.param
    with host(MODES[mode], partial(IptablesFirewall, iptables=Iptables(variant))) as made:
        yield made


@pytest.fixture(scope="module")
def wrong(world: Host) -> dict[str, str]:
    """What is not as it should be; all is asked side by side."""
    return world.wrong()


@pytest.mark.parametrize("name", [*(each.name for each in CHECKS), "link-local", *SPECIALS])
def test_the_right_ones_are_let_through_and_no_others(wrong: dict[str, str], name: str) -> None:
    assert wrong.get(name) is None


@pytest.fixture
def here() -> Iterator[Namespace]:
    """A host of its own, which the test works in."""
    with namespace() as made, made.entered():
        yield made


@pytest.fixture(params=VARIANTS)
def iptables(here: Namespace, request: pytest.FixtureRequest) -> Iptables:  # noqa: ARG001 - where it works
    return Iptables(request.param)


WANTED: list[FirewallItem] = [NETWORK, WEB, binding(8080), binding(8080, "::")]


def rules_of(iptables: Iptables) -> str:
    """All that iptables has, without counters and comments."""
    saved = "".join(map(iptables.saved, Family))
    lines = (line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#"))
    return "\n".join(lines)


def test_all_that_was_made_goes_again(iptables: Iptables) -> None:
    IptablesFirewall(Settings(), WANTED, iptables=iptables).remove()
    assert "HP-" not in rules_of(iptables)


def test_users_rules_stay_and_come_first(iptables: Iptables) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    rule = "-A HP-USER -s 192.0.2.7/32 -j DROP"
    iptables.restore(Family.IPV4, f"*filter\n{rule}\nCOMMIT\n")
    firewall.rebuild()
    assert rule in rules_of(iptables)
    firewall.remove()
    assert [each for each in rules_of(iptables).splitlines() if "HP-" in each] == [
        ":HP-USER -",
        rule,
    ]


def test_a_network_goes_although_a_users_rule_leads_to_a_chain_of_it(iptables: Iptables) -> None:
    """The rule leads to nothing then, which is no damage."""
    firewall = IptablesFirewall(Settings(), guards=no_router(), iptables=iptables)
    before = set(rules_of(iptables).splitlines())
    change = FirewallChange(opened=tuple(WANTED))
    firewall.apply(change)
    rule = "-A HP-USER -i lo -j HP-to-br0"
    iptables.restore(Family.IPV4, f"*filter\n{rule}\nCOMMIT\n")
    firewall.apply(change.reversed())
    for _ in range(2):
        assert set(rules_of(iptables).splitlines()) == before | {":HP-to-br0 -", rule}
        assert firewall.damage() == []
        firewall.rebuild()
    iptables.restore(Family.IPV4, "*filter\n-F HP-USER\nCOMMIT\n")
    firewall.rebuild()
    assert set(rules_of(iptables).splitlines()) == before


def test_what_somebody_flushed_is_made_again_and_stands_first(iptables: Iptables) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    before = rules_of(iptables)
    flush = "*filter\n-F\nCOMMIT\n*nat\n-F\nCOMMIT\n*raw\n-F\n-X HP-EARLY\nCOMMIT\n"
    iptables.restore(Family.IPV4, flush)
    iptables.restore(Family.IPV4, "*filter\n-A FORWARD -j DROP\nCOMMIT\n")
    firewall.rebuild()
    iptables.restore(Family.IPV4, "*filter\n-D FORWARD -j DROP\nCOMMIT\n")
    assert sorted(rules_of(iptables).splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("script", ["*nat\n-F HP-PUBLISH\n", "*filter\n-F FORWARD\n"])
def test_what_others_changed_is_seen(iptables: Iptables, script: str) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    assert firewall.damage() == []
    iptables.restore(Family.IPV4, f"{script}COMMIT\n")
    assert len(firewall.damage()) == 1
    firewall.rebuild()
    assert firewall.damage() == []


def test_a_users_rules_are_no_damage(iptables: Iptables) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    iptables.restore(Family.IPV4, "*filter\n-A HP-USER -j ACCEPT\n-I FORWARD -j LOG\nCOMMIT\n")
    assert firewall.damage() == []


def test_what_concerns_others_rules_only_is_not_told(here: Namespace) -> None:  # noqa: ARG001 - where it works
    """Other programs change iptables all the time, and nothing of ours has to be made anew then."""
    firewall = IptablesFirewall(Settings(), WANTED, iptables=Iptables("-nft"))
    watch = RuleWatch(firewall.iptables.programs, in_our_chains)
    others = Iptables("-nft")
    for act in ("-A", "-D"):
        rules = f"{act} FORWARD -s 192.0.2.7 -j DROP\n{act} HP-USER -j ACCEPT\n"
        others.restore(Family.IPV4, f"*filter\n{rules}COMMIT\n")
        others.restore(Family.IPV4, f"*filter\n{act} INPUT -j HP-USER\nCOMMIT\n")
    for line in (":theirs - [0:0]\n-A OUTPUT -j theirs", "-D OUTPUT -j theirs\n-X theirs"):
        others.restore(Family.IPV6, f"*nat\n{line}\nCOMMIT\n")
    nft("add table inet hostports; delete table inet hostports")
    assert watch.read() == []
    others.restore(Family.IPV4, "*filter\n-D FORWARD -j HP-FORWARD\nCOMMIT\n")
    (told,) = watch.read()
    assert re.fullmatch(r"rules of FORWARD deleted by iptables-nft-re \(pid \d+\)", told.said[0])
    watch.close()


def test_a_change_that_meets_deleted_chains_makes_them_anew_first(iptables: Iptables) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    change = FirewallChange(opened=(binding(8081),))
    firewall.apply(change)
    whole = firewall.listed()
    firewall.apply(change.reversed())
    for of in Family:
        iptables.restore(of, "".join(f"*{each}\n-F\n-X\nCOMMIT\n" for each in TABLES))
    firewall.apply(change)
    assert firewall.damage() == []
    assert sorted(firewall.listed().splitlines()) == sorted(whole.splitlines())


def test_a_chain_that_is_ours_no_more_goes_with_whatever_jumps_to_it(iptables: Iptables) -> None:
    """As after ``iptables -E HP-FORWARD HP-OLD``."""
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    before = rules_of(iptables)
    old = ":HP-OLD - [0:0]\n:HP-OLDER - [0:0]\n-A HP-OLD -j HP-OLDER\n-I FORWARD -j HP-OLD\n"
    for of in Family:
        iptables.restore(of, f"*filter\n{old}COMMIT\n")
    firewall.rebuild()
    assert sorted(rules_of(iptables).splitlines()) == sorted(before.splitlines())


class Disturbed(Iptables):
    """Once somebody deletes all chains when we have listed them: ``iptables -F; iptables -X``."""

    waits = False

    def present(self, of: Family) -> Present:
        found = super().present(of)
        if self.waits:
            self.waits = False
            self.restore(of, "*filter\n-F\n-X\nCOMMIT\n")
        return found


def test_a_rebuild_that_others_disturb_begins_again_at_once(iptables: Iptables) -> None:
    disturbed = Disturbed(iptables.variant)
    firewall = IptablesFirewall(Settings(), WANTED, iptables=disturbed)
    before = rules_of(iptables)
    disturbed.waits = True
    firewall.rebuild()
    assert not disturbed.waits
    assert sorted(rules_of(iptables).splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_a_change_that_a_later_family_refuses_changes_nothing(
    iptables: Iptables, program: str
) -> None:
    with refusing(f"{program}{iptables.variant}-restore") as flag:
        firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
        before = rules_of(iptables)
        flag.touch()
        change = FirewallChange(opened=(binding(8081), binding(8081, "::")))
        with pytest.raises(FirewallFailed, match="line 2 failed: -A HP-"):
            firewall.apply(change)
        assert not flag.exists()
        assert rules_of(iptables) == before
        firewall.apply(change)
        firewall.apply(change.reversed())
    assert rules_of(iptables) == before


def test_who_waits_in_vain_for_the_lock_is_told(
    here: Namespace,  # noqa: ARG001 - where it works
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    firewall = IptablesFirewall(Settings(), iptables=Iptables("-legacy", lock_wait_s=1))
    before = rules_of(firewall.iptables)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FirewallFailed, match="kept iptables locked for 1 s"):
            firewall.apply(FirewallChange(opened=(NETWORK,)))
    assert rules_of(firewall.iptables) == before
    firewall.apply(FirewallChange(opened=(NETWORK,)))


@pytest.mark.parametrize("host_ip", ["0.0.0.0", "::"])
def test_many_ports_of_a_container_go_and_the_others_stay(iptables: Iptables, host_ip: str) -> None:
    firewall = IptablesFirewall(Settings(), WANTED, iptables=iptables)
    before = firewall.listed()
    many = FirewallChange(opened=tuple(binding(port, host_ip) for port in range(20_000, 20_200)))
    firewall.apply(many)
    moved = FirewallChange(opened=(binding(9000),), closed=many.opened)
    firewall.apply(moved)
    firewall.apply(FirewallChange(closed=(binding(9000),)))
    assert firewall.listed() == before


def test_a_plan_is_what_iptables_would_be_given(iptables: Iptables) -> None:
    firewall = IptablesFirewall(Settings(), [NETWORK, WEB], iptables=iptables)
    before = rules_of(iptables)
    planned = firewall.planned(FirewallChange(opened=(binding(8080),)))
    to = "-p tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80"
    assert f"iptables-restore: -A HP-PUBLISH ! -i br0 {to}" in planned
    assert rules_of(iptables) == before


def nft_tables() -> str:
    return nft("list", "tables")


def others(firewall: firewalls.PacketFilter) -> list[str]:
    """The backends besides one that hold anything of ours."""
    kinds = [each for each in installed() if "HP-" in rules_of(each)]
    holding = [each.variant for each in kinds]
    if isinstance(firewall, IptablesFirewall):
        holding.remove(firewall.iptables.variant)
        return holding + (["nft"] if "inet hostports" in nft_tables() else [])
    return holding


def test_another_backend_takes_over_and_leaves_nothing_of_the_former(here: Namespace) -> None:
    here.sysctl("net.ipv4.ip_forward", "0")
    firewall: firewalls.PacketFilter = firewalls.nftables(Settings(), WANTED, take_over=False)
    before = firewall.listed()
    for variant in VARIANTS:
        IptablesFirewall(Settings(), WANTED, iptables=Iptables(variant))
    firewall = firewalls.iptables(Settings(), WANTED, take_over=True)
    assert others(firewall) == []
    # Its own look at the host would find a router by now.
    assert "only what is ours" in rules_of(firewall.iptables)
    firewall = firewalls.nftables(Settings(), WANTED, take_over=True)
    assert others(firewall) == []
    assert firewall.listed() == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("former", [firewalls.nftables, firewalls.iptables])
def test_a_daemon_without_a_firewall_leaves_nothing_of_the_former(former: firewalls.Maker) -> None:
    former(Settings(), WANTED, take_over=False)
    with pytest.raises(DaemonThere):
        firewalls.nobody(Settings(), [], take_over=False)
    firewalls.nobody(Settings(), WANTED, take_over=True)
    assert [str(each) for each in installed() if "HP-" in rules_of(each)] == []
    assert "inet hostports" not in nft_tables()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("make", [firewalls.nftables, firewalls.iptables])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_another_daemon_published_is_not_replaced(make: firewalls.Maker, variant: str) -> None:
    theirs = IptablesFirewall(Settings(), WANTED, iptables=Iptables(variant))
    before = theirs.listed()
    with pytest.raises(DaemonThere, match=f"iptables{variant} holds published ports"):
        make(Settings(), [], take_over=False)
    assert theirs.listed() == before


@pytest.mark.usefixtures("here")
def test_iptables_does_what_nft_would_where_there_is_no_nft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = ["iptables", *(f"{each}-nft-{what}" for each in PROGRAMS for what in WHAT)]
    for each in programs:
        (tmp_path / each).symlink_to(f"/usr/sbin/{each}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(firewalls.whichever(Settings(), [], take_over=True), IptablesFirewall)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(FirewallFailed, match=r"nft is not there.*; and iptables-save") as none:
        firewalls.whichever(Settings(), [], take_over=True)
    # Also `run` says this, which has no --firewall.
    assert "start `hostports daemon --firewall none`" in none.value.hint


def test_what_was_counted_is_told_by_the_host_s_side(iptables: Iptables) -> None:
    some = PortBinding(
        *("lab", "web", Protocol.UDP, ip_address("192.0.2.1"), 53),
        *(IPv4Address("172.30.0.2"), 53),
    )
    firewall = IptablesFirewall(Settings(), [*WANTED, some], iptables=iptables)
    assert set(firewall.traffic()) == {
        each.socket for each in [*WANTED, some] if isinstance(each, PortBinding)
    }


def test_the_default_is_nft(here: Namespace) -> None:  # noqa: ARG001 - where it works
    assert isinstance(firewalls.whichever(Settings(), [], take_over=True), NftablesFirewall)

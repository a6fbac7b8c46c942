"""The table of ours beside others: what it leaves alone, what it leaves behind, what it needs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hostports import PortBinding
from hostports.errors import FirewallFailed, HostportsError
from hostports.linux.multicast import Multicast, sender
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.rule_watch import RuleWatch
from hostports.model.firewall import Damage, FirewallChange
from tests.netns.bare import bare_lab, no_router, on_host
from tests.netns.firewall_checks import EVERYTHING
from tests.netns.lab import Lab
from tests.netns.namespaces import nft
from tests.netns.ruleset_page import PAGE, page


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    with bare_lab() as made:
        yield made


firewall = partial(on_host, backend=NftablesFirewall)


def ruleset(bare: Lab) -> str:
    with bare.namespaces["host"].entered():
        return nft("-s", "list", "ruleset")


def test_nothing_of_ours_stays_after_removal(bare: Lab) -> None:
    before = ruleset(bare)
    with firewall(bare):
        assert ruleset(bare) != before
    assert ruleset(bare) == before


def test_networks_that_go_leave_the_table_byte_for_byte_as_it_was(bare: Lab) -> None:
    with bare.namespaces["host"].entered():
        made = NftablesFirewall(guards=no_router())
        before = nft("-s", "list", "ruleset")
        made.apply(EVERYTHING)
        made.apply(EVERYTHING.reversed())
        assert nft("-s", "list", "ruleset") == before
        made.remove()


def test_the_users_chain_survives_a_rebuild_and_our_removal(bare: Lab) -> None:
    with bare.namespaces["host"].entered():
        made = NftablesFirewall()
        nft("add", "rule", "inet", "hostports", "user", "tcp", "dport", "22", "accept")
        user = nft("-a", "list", "chain", "inet", "hostports", "user")
        made.rebuild()
        NftablesFirewall()
        made.remove()
        assert nft("-a", "list", "chain", "inet", "hostports", "user") == user
        nft("delete", "table", "inet", "hostports")


def test_tables_of_others_are_not_touched(bare: Lab) -> None:
    with bare.namespaces["host"].entered():
        nft("add", "table", "inet", "theirs")
        nft("add", "chain", "inet", "theirs", "forward", "{ type filter hook forward priority 0; }")
        nft("add", "rule", "inet", "theirs", "forward", "counter")
    before = ruleset(bare)
    with firewall(bare):
        pass
    assert ruleset(bare) == before
    with bare.namespaces["host"].entered():
        nft("delete", "table", "inet", "theirs")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'nftables v1.0.1 (Fearless Fosdick #3)'", "nft 1.0.1 is too old; install nftables"),
        ("echo 'Error: Operation not permitted' >&2; exit 1", "nft may not change the firewall"),
    ],
    ids=["too old", "not permitted"],
)
def test_an_nft_that_cannot_be_used_is_named(tmp_path: Path, script: str, complaint: str) -> None:
    program = tmp_path / "nft"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(HostportsError) as caught:
        NftablesFirewall(nft=str(program))
    assert str(caught.value).startswith(complaint)


def test_a_missing_nft_is_named() -> None:
    with pytest.raises(FirewallFailed, match="is not there, so nothing can be published; install"):
        NftablesFirewall(nft="/nowhere/nft")


def test_the_page_about_the_ruleset_is_up_to_date() -> None:
    """`make docs` writes it anew. Another nft may list the same rules in another way."""
    written = PAGE.read_text(encoding="utf-8")
    version = nft("--version").split(" (")[0].strip()
    if version not in written:
        pytest.skip(f"the page was made with another version than {version}")
    assert page() == written


DAMAGES = (
    "flush ruleset",
    "delete table inet hostports",
    "flush chain inet hostports early",
    "flush map inet hostports dnat_any4",
    "flush map inet hostports protected4",
    "add element inet hostports dnat_any4 { tcp . 9 : 10.0.0.1 . 80 }",
    "add chain inet hostports to_nowhere",
)


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize("many", [False, True], ids=["few ports", "many ports"])
def test_all_damage_is_found_and_a_rebuild_repairs_it(bare: Lab, many: bool, told: bool) -> None:  # noqa: FBT001 - parameters of the test
    """With many ports, what protects comes before them, in a transaction of its own.

    Whoever was told what was changed makes only that anew.
    """
    first = next(each for each in EVERYTHING.opened if isinstance(each, PortBinding))
    more = tuple(replace(first, host_port=port) for port in range(20000, 20600 if many else 20000))
    with firewall(bare) as made, bare.namespaces["host"].entered():
        made.apply(FirewallChange(opened=more))
        before = made.listed()
        watch = RuleWatch(made.programs)
        for script in DAMAGES:
            assert made.damage() == []
            nft(script)
            assert made.damage()
            (seen,) = watch.read()
            made.rebuild(seen.parts if told else frozenset())
            assert made.listed() == before
        watch.close()
        made.apply(FirewallChange(closed=more))


#: What no transaction makes good that begins with deleting everything.
TURNS = (
    "rename chain inet hostports nat_in mine",
    "add table inet hostports { flags dormant; }",
    "add rule inet hostports user jump TO",
)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("many", [False, True], ids=["few ports", "many ports"])
def test_what_others_have_turned_into_something_else_is_made_good(
    bare: Lab,
    turn: str,
    many: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """By the daemon that runs, and by the next one."""
    first = next(each for each in EVERYTHING.opened if isinstance(each, PortBinding))
    more = tuple(replace(first, host_port=port) for port in range(20000, 20600 if many else 20001))
    with firewall(bare) as made, bare.namespaces["host"].entered():
        made.apply(FirewallChange(opened=more))
        (to, *_) = re.findall(r"^\tchain (to_\w+) ", made.listed(), re.MULTILINE)
        for mend in (made.rebuild, lambda: NftablesFirewall(wanted=(*EVERYTHING.opened, *more))):
            nft(turn.replace("TO", to))
            mend()
            assert made.damage() == []
            assert "dormant" not in made.listed()
            nft("flush chain inet hostports user")
            nft("delete chain inet hostports mine") if "mine" in turn else None
        made.apply(FirewallChange(closed=more))


def test_a_map_that_is_another_kind_of_thing_by_now_is_made_anew(bare: Lab) -> None:
    with firewall(bare) as made, bare.namespaces["host"].entered():
        before = made.listed()
        nft("flush table inet hostports; delete map inet hostports dnat_any4")
        nft("add set inet hostports dnat_any4 { type ipv4_addr; }")
        made.rebuild()
        assert made.listed() == before


def test_a_chain_that_nobody_wants_but_somebodys_rule_leads_to_stays_without_rules(
    bare: Lab,
) -> None:
    with firewall(bare) as made, bare.namespaces["host"].entered():
        (to, *_) = re.findall(r"^\tchain (to_\w+) ", made.listed(), re.MULTILINE)
        nft(f"add rule inet hostports user jump {to}")
        NftablesFirewall()
        assert "comment" not in nft("list", "chain", "inet", "hostports", to)
        nft("flush chain inet hostports user")
        made.rebuild()


def test_a_network_goes_although_somebodys_rule_leads_to_a_chain_of_it(bare: Lab) -> None:
    """The rule leads to nothing then, which is no damage, and nothing of the others stays."""
    with bare.namespaces["host"].entered():
        made = NftablesFirewall(guards=no_router())
        before = chains()
        made.apply(EVERYTHING)
        nft("add rule inet hostports user jump to_brA")
        made.apply(EVERYTHING.reversed())
        assert chains() == before | {"to_brA"}
        assert nft("list chain inet hostports to_brA").count("\n") == 4
        assert made.damage() == []
        nft("flush chain inet hostports user")
        made.rebuild()
        assert chains() == before
        made.remove()


def chains() -> set[str]:
    return set(re.findall(r"chain (\S+)", nft("list", "table", "inet", "hostports")))


def test_whose_a_change_is_does_not_depend_on_numbers_of_processes_that_have_ended(
    bare: Lab,
) -> None:
    """In another PID namespace, as a container's, somebody has the same number."""
    with firewall(bare) as made, bare.namespaces["host"].entered():
        watch = RuleWatch(made.programs)
        made.rebuild()
        ours = {sender(each) for each in _told(made.rebuild)}
        assert any(map(made.programs.ran, ours))
        assert watch.read() == []
        assert not any(map(made.programs.ran, ours))
        watch.close()


def _told(act: Callable[[], object]) -> list[bytes]:
    told = Multicast(12, 1 << 6)
    act()
    found = list(told.datagrams())
    told.close()
    return found


def test_a_change_that_meets_a_deleted_table_makes_it_anew(bare: Lab) -> None:
    """Whoever publishes just then must not be told that it failed."""
    first = next(each for each in EVERYTHING.opened if isinstance(each, PortBinding))
    change = FirewallChange(opened=(replace(first, host_port=20000),))
    with firewall(bare) as made, bare.namespaces["host"].entered():
        before = made.listed()
        for damage in DAMAGES[:2]:
            made.apply(change)
            after = made.listed()
            nft(damage)
            made.apply(change.reversed())
            assert made.listed() == before
            nft(damage)
            made.apply(change)
            assert made.listed() == after
            made.apply(change.reversed())


def test_others_changes_are_told_and_ours_are_not(bare: Lab) -> None:
    with firewall(bare) as made, bare.namespaces["host"].entered():
        watch = RuleWatch(made.programs)
        made.rebuild()
        made.apply(EVERYTHING.reversed())
        made.apply(EVERYTHING)
        nft("add rule inet hostports user counter")
        nft("flush chain inet hostports user")
        nft("add table inet theirs")
        nft("delete table inet theirs")
        assert watch.read() == []
        nft("flush chain inet hostports early")
        (seen,) = watch.read()
        assert re.fullmatch(r"rules of early deleted by nft \(pid \d+\)", seen.said[0])
        assert seen.parts == {"early"}
        nft("delete table inet hostports")
        (seen,) = watch.read()
        assert re.fullmatch(r"table inet hostports deleted by nft \(pid \d+\)", seen.said[0])
        watch.close()


def test_what_is_too_much_to_be_told_counts_as_a_change(bare: Lab) -> None:
    with firewall(bare) as made, bare.namespaces["host"].entered():
        watch = RuleWatch(made.programs, buffer_bytes=1)
        first = next(each for each in EVERYTHING.opened if isinstance(each, PortBinding))
        ports = range(20000, 22000)
        made.apply(FirewallChange(opened=tuple(replace(first, host_port=p) for p in ports)))
        assert watch.read() == [Damage(("more was changed than the kernel could tell",))]
        assert watch.read() == []
        watch.close()

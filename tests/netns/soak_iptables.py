"""Every rule of iptables, proven by what happens without it; run by `make soak`."""

from collections.abc import Iterator
from functools import partial

import pytest

from hostports.core.rules.iptables.listing import ours
from hostports.linux.iptables import Iptables, IptablesFirewall
from hostports.model.address import Family
from tests.netns.firewall_checks import MODES, Host, host

IPTABLES = Iptables("-nft")
#: Chains of rules that single networks, endpoints and ports bring.
OF_ITEMS = {
    f"HP-{each}"
    for each in ("EARLY", "SOURCES", "TRAFFIC", "PUBLISH", "FROM", "TO", "BRIDGES", "REACH-OUT")
}


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[Host]:
    backend = partial(IptablesFirewall, iptables=IPTABLES)
    with host(MODES[request.param], backend) as made:
        yield made


def mutations(saved: str) -> Iterator[str]:
    """Ways to take rules out: each on its own, but those of single items all of a chain at once.

    All counters go at once, too: each container has a chain of its own.
    """
    counters = [each.split()[1][1:] for each in ours(saved) if " :HP-count-" in each]
    yield "".join(["*mangle\n", *(f"-F {each}\n" for each in counters), "COMMIT\n"])
    for table, line in (each.split(" ", 1) for each in ours(saved)):
        verb, _, rest = line.partition(" ")
        chain = rest.split()[0] if verb == "-A" else line[1:].split()[0]
        if chain in counters:
            continue
        of_items = chain in OF_ITEMS or chain.startswith("HP-open-")
        if verb != "-A" and of_items:
            yield f"*{table}\n-F {chain}\nCOMMIT\n"
        elif verb == "-A" and not of_items and chain != "HP-USER":
            yield f"*{table}\n-D {rest}\nCOMMIT\n"


def set_policy(world: Host, verdict: str) -> None:
    with world.entered():
        for of in Family:
            IPTABLES.restore(of, f"*filter\n:FORWARD {verdict} [0:0]\nCOMMIT\n")


def noticed(world: Host, of: Family, mutation: str) -> bool:
    """Whether something goes wrong; where others drop what nobody accepts, or where they don't."""
    with world.entered():
        IPTABLES.restore(of, mutation)
    try:
        for verdict in ("DROP", "ACCEPT"):
            set_policy(world, verdict)
            if not world.seems_right():
                return True
        return False
    finally:
        with world.entered():
            world.firewall.rebuild()


@pytest.mark.parametrize("verdict", ["DROP", "ACCEPT"])
def test_all_is_right_whatever_the_policy_of_forward_is(world: Host, verdict: str) -> None:
    set_policy(world, verdict)
    assert world.wrong() == {}


def test_no_rule_can_be_missing(world: Host) -> None:
    """Rules are taken out; something must go wrong every time."""
    idle = []
    for of in Family:
        with world.entered():
            saved = IPTABLES.saved(of)
        idle += [f"IPv{of} {each}" for each in mutations(saved) if not noticed(world, of, each)]
    assert idle == []

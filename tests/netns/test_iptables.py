"""The firewall on iptables, of both kinds: the same questions and answers as on nftables."""

from collections.abc import Iterator
from functools import partial

import pytest

from hostports.core.rules.data import Settings
from hostports.linux.iptables import Iptables, IptablesFirewall
from tests.netns.firewall_checks import CHECKS, SPECIALS, Host, host

VARIANTS = ("-nft", "-legacy")
MODES = {"relay": Settings(relay=True), "hairpin": Settings(relay=False)}


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

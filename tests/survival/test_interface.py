"""Killed while ports follow an interface: the next start finds each address with its port."""

from pathlib import Path

import pytest

from tests.e2e.site import site
from tests.e2e.test_interface import (
    IPV4,
    IPV6,
    MORE_IPV4,
    Dial,
    bound,
    listening,
    on,
    remote,
    rules,
)
from tests.relay.waiting import PATIENCE_S
from tests.survival.host import DOOMED

#: The calls of a look that finds one address gone and another one there.
STEPS = (
    *("store.record:1", "firewall.apply:1", "relay.remove:1"),
    *("store.record:2", "sockets.reserve:1", "firewall.apply:2", "sockets.listen:1", "relay.add:1"),
)


@pytest.mark.parametrize("when", ["before", "after"])
def test_whenever_it_is_killed_the_next_start_is_one_with_the_interface(
    tmp_path: Path, when: str
) -> None:
    with site(tmp_path) as made:
        dial = Dial(made)
        dial.up(IPV4, IPV6)
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "dial0:8080:80")
        there, other = IPV4, MORE_IPV4
        for step in STEPS:
            made.daemon.stop()
            made.daemon.launch(program=(*DOOMED, f"{step}:{when}"))
            assert made.daemon.serves()
            dial.remove(there)
            dial.add(other)
            made.daemon.process.wait(PATIENCE_S)
            made.daemon.start()
            assert bound(made) == on(other, IPV6), step
            assert listening(made) == {f"{other}:8080", f"[{IPV6}]:8080"}
            assert there not in rules(made)
            assert made.answers(remote(other), remote(IPV6)) == ["nat1", "nat1"]
            there, other = other, there
        dial.down()

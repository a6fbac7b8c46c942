"""Each step made to fail: nothing stays behind, and everything that went wrong is told."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.errors import HostportsError, ReleaseFailed
from hostports.testing import EVERY
from tests.engine.conftest import BUILTIN, World

ADDING = ["sockets.reserve", "port_driver.add", "firewall.apply", "sockets.listen", "relay.add"]
RELEASING = ["firewall.apply", "relay.remove", "port_driver.remove"]
SPECS = ["8080:80", "192.0.2.10:9000-9009:81", "82", "53:53/udp", "5000:5000/sctp"]

worlds = st.fixed_dictionaries(
    {"relayed": st.booleans(), "driver_info": st.sampled_from([None, BUILTIN])}
)


def attempt(world: World, specs: Sequence[str]) -> bool:
    """Publish, and say whether it worked."""
    try:
        world.publish(*specs)
    except HostportsError:
        return False
    return True


@given(
    kind=worlds,
    specs=st.lists(st.sampled_from(SPECS), min_size=1, unique=True),
    call=st.sampled_from(ADDING),
    number=st.integers(1, 12),
    busy=st.sets(st.sampled_from([8080, 9000, 9001, 49200])),
)
def test_a_failed_publish_leaves_everything_as_it_was(
    kind: dict[str, object], specs: list[str], call: str, number: int, busy: set[int]
) -> None:
    world = World(failing={call: [number]}, **kind)  # type: ignore[arg-type]
    for port in busy:
        world.occupy(port)
    before = world.dump()
    if attempt(world, specs):
        world.faults.failing = {}
        world.engine.unpublish(world.engine.published())
    assert world.dump() == before


@pytest.mark.parametrize("call", ADDING)
def test_every_step_of_a_publish_can_fail(call: str) -> None:
    """The steps named above are the steps that there are."""
    world = World(failing={call: [1]}, driver_info=BUILTIN)
    with pytest.raises(HostportsError, match="injected"):
        world.publish(*SPECS[:4])
    assert world.dump() == World(driver_info=BUILTIN).dump()


@given(
    specs=st.lists(st.sampled_from(SPECS[:4]), min_size=1, unique=True),
    calls=st.sets(st.sampled_from(RELEASING), min_size=1),
)
def test_a_release_goes_on_after_errors_and_gives_the_ports_back(
    specs: list[str], calls: set[str]
) -> None:
    world = World(driver_info=BUILTIN)
    bindings = world.publish(*specs).bindings
    world.faults.failing = {call: [EVERY] for call in calls}
    with pytest.raises(ReleaseFailed) as caught:
        world.engine.unpublish(bindings)
    told = {"firewall.apply": 1, "relay.remove": len(bindings), "port_driver.remove": len(bindings)}
    assert len(caught.value.errors) == sum(told[call] for call in calls)
    assert world.engine.book.host.dump() == {}
    assert world.engine.book.child.dump() == {}
    assert world.sockets.dump() == []
    assert world.relay.dump() == []
    assert world.engine.published() == []


def test_a_second_release_has_no_effect() -> None:
    world = World(driver_info=BUILTIN)
    bindings = world.publish("8080:80").bindings
    world.engine.unpublish(bindings)
    world.publish("8080:81")
    held = world.dump()
    world.engine.unpublish(bindings)
    assert world.dump() == held


def test_what_fails_while_undoing_is_attached_to_the_error() -> None:
    world = World(failing={"relay.add": [1], "firewall.apply": [2]})
    with pytest.raises(HostportsError, match="the relay can't serve") as caught:
        world.publish("8080:80")
    assert caught.value.__notes__ == ["while undoing: injected: the firewall refuses"]
    assert world.engine.book.host.dump() == {}


def test_a_release_undoes_in_the_mirror_order_with_the_rules_first() -> None:
    """No port may be free for others while a rule still leads it away."""
    world = World(driver_info=BUILTIN)
    bindings = world.publish("8080:80").bindings
    world.faults.calls.clear()
    world.engine.unpublish(bindings)
    assert world.faults.calls == [
        "firewall.apply",
        *2 * ["relay.remove"],
        *2 * ["port_driver.remove"],
    ]

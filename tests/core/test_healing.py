"""When what others have undone is made good: at once, but not in a race with them."""

from functools import reduce
from operator import add

import hypothesis.strategies as st
from hypothesis import given

from hostports.core.healing import Healing
from hostports.model.firewall import Damage


def healed(healing: Healing, times: list[float]) -> list[float]:
    """When changes at these times are healed, by somebody who waits as told."""
    done: list[float] = []
    for at in times:
        if done and at <= done[-1]:
            continue  # it was there when the last one was healed
        done.append(at + healing.wait(at))
        healing.healed(done[-1])
    return done


def test_a_change_is_healed_at_once() -> None:
    assert Healing().wait(1000.0) == 0


def test_some_changes_in_a_row_are_healed_at_once() -> None:
    times = [100.0 + each for each in range(5)]
    assert healed(Healing(burst=5, earned_s=60), times) == times


@given(
    st.lists(st.floats(0, 1000, allow_nan=False), min_size=1).map(sorted),
    st.integers(1, 10),
    st.floats(0.5, 50),
)
def test_whatever_others_do_healings_are_bounded(
    times: list[float], burst: int, earned_s: float
) -> None:
    done = healed(Healing(burst, earned_s), times)
    for first in range(len(done)):
        for last in range(first, len(done)):
            most = burst + (done[last] - done[first]) / earned_s
            assert last - first + 1 <= most + 1e-6


@given(st.lists(st.floats(0, 1000, allow_nan=False), min_size=1).map(sorted))
def test_every_change_is_healed_in_bounded_time(times: list[float]) -> None:
    healing = Healing(burst=3, earned_s=5)
    done = healed(healing, times)
    for at in times:
        assert any(0 <= when - at <= 5 + 1e-6 for when in done)


def test_a_fight_is_told_once_and_is_over_when_it_was_calm_for_a_while() -> None:
    healing = Healing(burst=4, earned_s=10)
    told = [healing.healed(each + healing.wait(each)) for each in range(50)]
    assert told.count(True) == 1
    later = 50 + 4 * 10 * 50
    assert not healing.healed(later)
    assert [healing.healed(later + each) for each in range(1, 5)].count(True) == 1


def test_damage_and_more_of_it_concern_the_parts_of_both() -> None:
    early, forward = (Damage((f"rules of {each}",), frozenset({each})) for each in ("early", "to"))
    anything = Damage(("more than the kernel could tell",))
    assert (early + forward).parts == {"early", "to"}
    assert (early + early).said == early.said
    for both in (early + anything, anything + early):
        assert both.parts == frozenset(), "which parts are concerned is not known then"
        assert {*both.said} == {*early.said, *anything.said}


def test_so_much_is_said_of_very_many_changes() -> None:
    many = reduce(add, (Damage((f"change {number}",)) for number in range(1000)))
    assert "change 0" in many.said
    assert len(many.said) < 20

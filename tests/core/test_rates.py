"""How fast ports are, by two looks at their counters."""

from hypothesis import given
from hypothesis import strategies as st

from hostports.core.rates import STILL, Counters, Rates, Sample, rates

AMOUNTS = st.integers(0, 1 << 63)
COUNTERS = st.builds(Counters, AMOUNTS, AMOUNTS, AMOUNTS)
PORTS = st.dictionaries(st.sampled_from("abcdef"), COUNTERS)
TIMES = st.floats(0, 1e9)
SAMPLES = st.builds(Sample, TIMES, PORTS)


def test_a_rate_is_what_came_in_a_second() -> None:
    before = Sample(10.0, {"web": Counters(100, 1000, 1)})
    after = Sample(12.0, {"web": Counters(110, 5000, 2)})
    assert rates(before, after) == {"web": Rates(5.0, 2000.0, 0.5)}


@given(SAMPLES, SAMPLES)
def test_the_ports_are_those_that_are_there_now(before: Sample, after: Sample) -> None:
    assert rates(before, after).keys() == after.counters.keys()


@given(SAMPLES, SAMPLES)
def test_nothing_ever_flows_backwards(before: Sample, after: Sample) -> None:
    assert all(rate >= 0 for found in rates(before, after).values() for rate in found)


@given(SAMPLES, SAMPLES)
def test_a_port_that_has_just_come_stands_still(before: Sample, after: Sample) -> None:
    """What it counted before anybody looked did not pass since then."""
    found = rates(before, after)
    assert all(found[port] == STILL for port in after.counters.keys() - before.counters.keys())


@given(TIMES, PORTS, PORTS)
def test_without_time_there_is_no_speed(
    at: float, before: dict[str, Counters], after: dict[str, Counters]
) -> None:
    assert set(rates(Sample(at, before), Sample(at, after)).values()) <= {STILL}


@given(st.floats(0.001, 1000), COUNTERS, COUNTERS)
def test_each_counter_that_began_anew_stands_still_and_the_others_go_on(
    seconds: float, before: Counters, after: Counters
) -> None:
    (found,) = rates(Sample(0.0, {"web": before}), Sample(seconds, {"web": after})).values()
    for rate, was, now in zip(found, before, after, strict=True):
        assert rate == (max(0, now - was) / seconds)


@given(st.lists(st.tuples(st.floats(0.01, 10), AMOUNTS), min_size=2))
def test_all_intervals_together_give_no_more_than_what_was_counted(
    steps: list[tuple[float, int]],
) -> None:
    """However often the counter begins anew."""
    at, total, passed = 0.0, 0.0, 0
    before: Sample = Sample(at, {"web": Counters(0, 0, 0)})
    for seconds, count in steps:
        at += seconds
        after = Sample(at, {"web": Counters(count, 0, 0)})
        total += rates(before, after)["web"].packets * (after.at - before.at)
        passed += count
        before = after
    assert total <= passed * (1 + 1e-6)

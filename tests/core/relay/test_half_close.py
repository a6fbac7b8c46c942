import pytest

from hostports.core.relay.half_close import SCTP_ENDS, TCP_ENDS, Ends, Open, Way

TABLES = pytest.mark.parametrize("ends", [TCP_ENDS, SCTP_ENDS], ids=["TCP", "SCTP"])
OPEN_WAYS = {
    Open.BOTH: {Way.TO_CONTAINER, Way.TO_CLIENT},
    Open.ONLY_TO_CONTAINER: {Way.TO_CONTAINER},
    Open.ONLY_TO_CLIENT: {Way.TO_CLIENT},
    Open.NONE: set(),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [(Way.TO_CONTAINER, Way.TO_CLIENT), (Way.TO_CLIENT, Way.TO_CONTAINER)],
)
def test_a_tcp_connection_is_over_when_both_ways_have_ended(first: Way, second: Way) -> None:
    half = TCP_ENDS[Open.BOTH, first]
    assert OPEN_WAYS[half] == {second}
    assert TCP_ENDS[half, second] is Open.NONE


@pytest.mark.parametrize("way", Way)
def test_an_sctp_connection_is_over_when_one_way_has_ended(way: Way) -> None:
    assert SCTP_ENDS[Open.BOTH, way] is Open.NONE


@TABLES
@pytest.mark.parametrize("way", Way)
def test_a_broken_connection_stays_broken_whatever_ends(ends: Ends, way: Way) -> None:
    assert ends[Open.BROKEN, way] is Open.BROKEN


@TABLES
def test_a_way_that_has_ended_does_not_end_again(ends: Ends) -> None:
    for before, way in ends:
        assert before is Open.BROKEN or way in OPEN_WAYS[before]


@TABLES
def test_in_every_state_that_is_reached_every_open_way_can_end(ends: Ends) -> None:
    for reached in {Open.BOTH, *ends.values()} - {Open.BROKEN}:
        for way in OPEN_WAYS[reached]:
            assert OPEN_WAYS[ends[reached, way]] <= OPEN_WAYS[reached] - {way}

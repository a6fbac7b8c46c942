"""What viewers of the page are told, whoever comes when and misses what."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hostports.ui.board import Board
from tests.cli.samples import binding

Json = dict[str, Any]


def documents(lines: bytes) -> list[Json]:
    return [json.loads(line) for line in lines.splitlines()]


class Viewer:
    """Somebody who knows what the lines have told."""

    def __init__(self) -> None:
        self.ports: Json = {}
        self.totals: dict[str, list[int]] = {}
        self.moving: dict[str, list[float]] = {}

    def see(self, lines: bytes) -> None:
        for said in documents(lines):
            if "ports" in said:
                self.ports = said["ports"]
                self.totals = {name: self.totals.get(name, [0, 0, 0]) for name in self.ports}
            if "figures" in said:
                self.moving = {name: each[:3] for name, each in said["figures"].items()}
                self.totals |= {name: each[3:] for name, each in said["figures"].items()}


COUNTS = st.integers(0, 1 << 40)
#: What is published at one time: host ports, with bytes, and always some ports that stand still.
PUBLISHED = st.dictionaries(st.integers(1, 5), COUNTS, max_size=4)


def sampled(published: dict[int, int]) -> list[Json]:
    return [
        binding(host_port=port, packets=0, bytes=count, connections=0)
        for port, count in published.items()
    ]


def test_who_comes_sees_all_ports_and_their_figures() -> None:
    board = Board()
    board.take(10.0, [binding(packets=1, bytes=100, connections=0)])
    board.take(12.0, [binding(packets=5, bytes=300, connections=1)])
    ports, figures = documents(board.whole())
    ((name, port),) = ports["ports"].items()
    assert port["endpoint"] == "web"
    assert "packets" not in port
    assert figures == {"at": 12.0, "figures": {name: [2.0, 100.0, 0.5, 5, 300, 1]}}


def test_a_port_that_stands_still_is_not_spoken_of() -> None:
    board = Board()
    for at in (1.0, 2.0):
        board.take(at, [binding()])
    assert documents(board.latest) == [{"at": 2.0, "figures": {}}]


def test_a_port_that_is_published_anew_is_another_one() -> None:
    """Its counters began anew, whatever they say."""
    board = Board()
    board.take(1.0, [binding(bytes=10)])
    board.take(2.0, [binding(bytes=5000, created="2026-11-24T10:00:00Z")])
    _, figures = documents(board.latest)
    ((rates),) = figures["figures"].values()
    assert rates[:3] == [0.0, 0.0, 0.0]


def test_trouble_is_told_until_there_is_a_sample_again() -> None:
    board = Board()
    board.fail("nft is gone")
    assert documents(board.latest) == [{"trouble": "nft is gone"}]
    assert documents(board.whole())[-1] == {"trouble": "nft is gone"}
    board.take(1.0, [])
    assert all("trouble" not in said for said in documents(board.whole()))


@given(st.lists(PUBLISHED, min_size=1), st.data())
def test_who_sees_every_line_knows_what_those_know_who_come_last(
    history: list[dict[int, int]], data: st.DataObject
) -> None:
    """Also who missed some and saw the whole instead."""
    board, steady, careless = Board(), Viewer(), Viewer()
    missed = True
    for at, published in enumerate(history):
        board.take(float(at + 1), sampled(published))
        steady.see(board.latest)
        if data.draw(st.booleans()):
            careless.see(board.whole() if missed else board.latest)
            missed = False
        else:
            missed = True
    late = Viewer()
    late.see(board.whole())
    if missed:
        careless.see(board.whole())
    for viewer in (steady, careless):
        assert viewer.ports == late.ports
        assert viewer.totals == late.totals
        assert all(late.moving[name] == each for name, each in viewer.moving.items())
        still = late.moving.keys() - viewer.moving.keys()
        assert all(late.moving[name] == [0, 0, 0] for name in still)

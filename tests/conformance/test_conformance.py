"""All recordings, on a table of sockets and on real ones; and that the runner can fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.driver import Kernel
from tests.conformance.judge import (
    Difference,
    Verdict,
    differences,
    holding,
    judge_allocator,
    judge_mapping,
    judge_spec,
    modelled_mapping,
)
from tests.conformance.kernels import tables
from tests.conformance.reference import Json
from tests.conformance.vectors import judged, load

VECTORS = Path(__file__).parent / "vectors"
CASES = {"port_mappings": 1711, "port_allocator": 281, "port_specs": 368 + 9}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_as_the_reference_or_differs_on_purpose(name: str) -> None:
    judgements = list(judged(VECTORS / f"{name}.json.gz"))
    assert [each for each in judgements if each.verdict is Verdict.FAILURE] == []
    assert len(judgements) == CASES[name]


def test_real_sockets_in_namespaces_say_the_same() -> None:
    """What is skipped needs SCTP sockets, which the kernel may not have."""
    table = list(judged(VECTORS / "port_mappings.json.gz"))
    real = list(judged(VECTORS / "port_mappings.json.gz", real_sockets=True))
    compared = [
        pair for pair in zip(table, real, strict=True) if pair[1].verdict != Verdict.SKIPPED
    ]
    assert [pair for pair in compared if pair[0] != pair[1]] == []
    assert len(compared) >= 1505


@pytest.mark.parametrize(
    "difference", differences(), ids=lambda each: f"{each.vectors}-{each.name}"
)
def test_every_difference_changes_what_is_expected_of_some_case(difference: Difference) -> None:
    """A rule that changes nothing is dead."""
    vectors = load(VECTORS / f"{difference.vectors}.json.gz")
    environment = vectors.get("environment", {})
    assert any(
        changes(difference, case, environment)
        for case in vectors["cases"] + vectors.get("lists", [])
        if difference.name in holding(case, environment, difference.vectors)
    )


def changes(difference: Difference, case: Json, environment: Json) -> bool:
    if difference.vectors == "port_allocator":
        return judge_allocator(case, environment).verdict is Verdict.ON_PURPOSE
    if difference.vectors == "port_specs":
        return judge_spec(case).verdict is Verdict.ON_PURPOSE
    alone = modelled_mapping(case, environment, frozenset({difference.name}))
    return alone != modelled_mapping(case, environment)


def test_every_difference_is_told_to_users() -> None:
    told = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")
    assert [each.name for each in differences() if f"`{each.name}`" not in told] == []


@contextmanager
def crowded(case: Json, environment: Json) -> Iterator[Kernel]:
    """A host on which somebody holds a port that the recordings' host has free."""
    with tables(case, environment) as kernel:
        kernel.occupy(
            {
                "proto": "tcp",
                "ip": "0.0.0.0",
                "port": 8092,
                "reuseaddr": True,
                "v6only": False,
                "listen": True,
            }
        )
        yield kernel


def test_another_result_than_expected_fails_also_where_we_differ() -> None:
    """To be different on purpose in one thing is no excuse for another."""
    vectors = load(VECTORS / "port_mappings.json.gz")
    (case,) = (each for each in vectors["cases"] if each["id"] == "busy-first-12-of-16-proxy")
    environment = vectors["environment"]
    assert judge_mapping(case, environment, tables).verdict is Verdict.ON_PURPOSE
    assert judge_mapping(case, environment, crowded).verdict is Verdict.FAILURE

"""The runner as somebody at a terminal meets it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.vectors import load

VECTORS = Path(__file__).parent / "vectors"


def written(path: Path, vectors: dict[str, Any]) -> str:
    path.write_text(json.dumps(vectors), encoding="utf-8")
    return str(path)


def one_case(name: str, identity: str) -> dict[str, Any]:
    vectors = load(VECTORS / f"{name}.json.gz")
    vectors["cases"] = [each for each in vectors["cases"] if each["id"] == identity]
    return vectors | {"lists": []}


def test_a_file_that_passes_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "one.json", one_case("port_mappings", "ref-01"))
    assert main([file]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "one.json: 1 as the reference, 0 differ on purpose, 0 fail",
        "1 as the reference, 0 differ on purpose, 0 fail",
    ]


def test_a_wrong_port_in_a_recording_fails_and_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = one_case("port_mappings", "ref-01")
    vectors["cases"][0]["steps"][0]["expect"]["bindings"][0]["host_port"] = 49999
    assert main([written(tmp_path / "wrong.json", vectors)]) == 1
    said = capsys.readouterr().out
    assert "ref-01 FAILS" in said
    assert "49999" in said
    assert said.endswith("0 as the reference, 0 differ on purpose, 1 fail\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trace", []),
        ("allocator_state", {}),
        ("error", {"kind": "bind_failed", "any_of": [""], "errno": None}),
        (
            "sockets",
            [
                {
                    "proto": "tcp",
                    "ip": "0.0.0.0",
                    "port": 1,
                    "listening": True,
                    "reuseaddr": True,
                    "v6only": None,
                    "pktinfo": False,
                }
            ],
        ),
    ],
)
def test_each_part_of_an_expectation_is_compared(tmp_path: Path, field: str, value: object) -> None:
    vectors = one_case("port_mappings", "ref-01")
    vectors["cases"][0]["steps"][0]["expect"][field] = value
    assert main([written(tmp_path / "wrong.json", vectors)]) == 1


def test_the_order_in_which_calls_reach_a_binding_is_compared(tmp_path: Path) -> None:
    vectors = one_case("port_mappings", "rlk-two-requests-none")
    vectors["cases"][0]["steps"][0]["expect"]["trace"].reverse()
    assert main([written(tmp_path / "wrong.json", vectors)]) == 1


@pytest.mark.parametrize("text", ["no json", "[]", '{"cases": []}', '{"cases": [{"id": "x"}]}'])
def test_a_file_that_holds_no_vectors_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    assert main([str(tmp_path / "bad.json")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.json"]) == 2
    assert "nowhere.json: can't be read" in capsys.readouterr().err

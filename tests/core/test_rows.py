import json
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.core.rows import (
    COLUMNS,
    FOLLOWING_COLUMNS,
    following_from_row,
    following_to_row,
    from_row,
    to_row,
)
from hostports.errors import UnusableValue
from hostports.model.following import Following
from hostports.model.port import PortBinding, Protocol
from tests.strategies import followings, json_values, port_bindings

WEB = PortBinding(
    "lab", "web", Protocol.TCP, ip_address("0.0.0.0"), 8080, ip_address("172.20.0.2"), 80
)
indexes = st.sampled_from(range(len(COLUMNS)))


def refused(row: Any) -> bool:  # noqa: ANN401 - anything at all
    """Whether a row is refused, by one of the errors that `from_row` promises."""
    try:
        from_row(row)
    except (TypeError, ValueError):
        return True
    return False


@given(port_bindings())
def test_a_row_reads_back_as_the_binding_that_it_was(binding: PortBinding) -> None:
    assert from_row(to_row(binding)) == binding


@given(followings())
def test_a_row_reads_back_as_the_following_that_it_was(following: Following) -> None:
    row = following_to_row(following)
    assert following_from_row(json.loads(json.dumps(row))) == following
    assert len(row) == len(FOLLOWING_COLUMNS)


@pytest.mark.parametrize("column", range(len(FOLLOWING_COLUMNS)))
@given(following=followings(), value=json_values())
def test_a_row_with_anything_in_one_column_is_a_following_or_refused(
    following: Following, column: int, value: object
) -> None:
    row: list[Any] = [*following_to_row(following)]
    row[column] = value
    with suppress(ValueError, TypeError, UnusableValue):
        assert following_from_row(row)


@given(port_bindings())
def test_a_row_survives_json(binding: PortBinding) -> None:
    assert from_row(json.loads(json.dumps(to_row(binding)))) == binding


@given(port_bindings())
def test_a_row_has_a_plain_value_for_every_column(binding: PortBinding) -> None:
    row = to_row(binding)
    assert len(row) == len(COLUMNS)
    assert {type(each) for each in row} <= {str, int, type(None)}


def test_a_row_is_flat_and_in_the_order_of_its_columns() -> None:
    assert dict(zip(COLUMNS, to_row(WEB), strict=True)) == {
        "network": "lab",
        "endpoint": "web",
        "protocol": "tcp",
        "host_ip": "0.0.0.0",
        "host_port": 8080,
        "container_ip": "172.20.0.2",
        "container_port": 80,
        "child_ip": None,
        "child_port": None,
        "mode": "nat",
        "allow_from": "",
        "proxy_protocol": None,
    }


@given(json_values())
def test_what_is_no_row_is_refused(row: object) -> None:
    assert refused(row)


@given(st.lists(json_values(), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_a_row_of_anything_is_refused(row: list[object]) -> None:
    assert refused(row)


@given(port_bindings(), indexes, json_values())
def test_a_row_with_anything_in_one_column_is_a_binding_or_refused(
    binding: PortBinding, index: int, value: object
) -> None:
    row: list[Any] = [*to_row(binding)]
    row[index] = value
    refused(row)


@given(port_bindings(), st.integers(0, len(COLUMNS) - 1))
def test_a_row_that_is_too_short_is_refused(binding: PortBinding, length: int) -> None:
    assert refused(to_row(binding)[:length])
    assert refused([*to_row(binding), None])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("protocol", "icmp"),
        ("protocol", None),
        ("host_ip", "localhost"),
        ("host_ip", None),
        ("host_port", "80"),
        ("host_port", None),
        ("host_port", 80.5),
        ("container_ip", "172.20.0.2/24"),
        ("container_port", "http"),
        ("child_ip", "nowhere"),
        ("mode", "tunnel"),
        ("allow_from", "192.0.2.1/24"),
        ("allow_from", "192.0.2.0/24,fd00::/8"),
        ("proxy_protocol", "v1"),
    ],
)
def test_a_column_that_is_wrong_is_refused(column: str, value: object) -> None:
    row: list[Any] = [*to_row(WEB)]
    row[COLUMNS.index(column)] = value
    assert refused(row)

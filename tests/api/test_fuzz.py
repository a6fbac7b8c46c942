"""Schemathesis asks what the description allows and what not, and holds the answers against it."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from hostports.api.openapi import document
from hostports.api.routes import ROUTES
from tests.api.serving import VERSION, Api, serving

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # A schema knows no host: whether a bridge is there or a subnet has host bits, it can't
            # say. So what it allows may be unusable nevertheless.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "409", "507"]},
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "507"]},
        }
    }
)
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES, VERSION), config=CONFIG)
# Streams have no end to wait for; test_events.py, test_pages.py and test_routes.py read them.
FINITE = SCHEMA.exclude(path_regex="/v1/(events|trace)").exclude(path="/v1/ui", method="POST")
# Examples are always the same; how long one takes is the machine's business.
BOUNDED = settings(max_examples=25, derandomize=True, database=None)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serving() as served:
        yield served


def checked(api: Api, case: Case[Any]) -> None:
    """Ask on a host that has a network, an endpoint and a port."""
    api.service.reset()
    api.service.furnish("8080:80")
    before = api.service.dump()
    answer = case.call_and_validate(base_url=api.url)
    if answer.status_code >= 400:
        assert api.service.dump() == before


@FINITE.parametrize()
@BOUNDED
def test_answers_are_as_described_and_refusals_change_nothing(api: Api, case: Case[Any]) -> None:
    checked(api, case)


@FINITE.include(path_regex=r"\{name\}|plan").parametrize()
@BOUNDED
def test_so_they_are_where_the_name_is_known(api: Api, case: Case[Any]) -> None:
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "lab" if "networks" in case.path else "web"
    elif isinstance(case.body, dict) and "endpoint" in case.body:
        case.body["endpoint"] = "web"
    checked(api, case)


def test_so_they_are_in_any_order(api: Api) -> None:
    """What was made is there until it is removed, and then it is not."""

    class Machine(FINITE.as_state_machine()):  # type: ignore[misc] # a class that is made
        def setup(self) -> None:
            api.service.reset()

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, str]:  # noqa: ARG002 - schemathesis asks
            return {"base_url": api.url}

    Machine.run(settings=settings(BOUNDED, max_examples=20, stateful_step_count=6))

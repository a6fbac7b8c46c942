"""The description, which programs take at its word."""

import json

import jsonschema_rs
import pytest

from hostports.api.errors import TOLD
from hostports.api.openapi import document
from hostports.api.routes import ROUTES
from tests.api.serving import Api, Json

DOCUMENT = document(ROUTES, "1.2.3")
SCHEMAS: Json = DOCUMENT["components"]["schemas"]


def operations() -> list[Json]:
    return [operation for path in DOCUMENT["paths"].values() for operation in path.values()]


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Of one component, beside which all others can be found."""
    whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def test_the_description_is_served(api: Api) -> None:
    answer = api.call("GET", "/v1/openapi.json")
    assert answer.document == json.loads(json.dumps(DOCUMENT))
    assert answer.headers["Content-Type"] == "application/json"


def test_every_route_is_described_once() -> None:
    described = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    assert len(described) == len(ROUTES)


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [each["operationId"] for each in operations()]
    assert len(names) == len({*names})


def test_every_refusal_of_ours_is_described_somewhere() -> None:
    described = {status for each in operations() for status in each["responses"]}
    assert {str(int(told.status)) for told in TOLD.values()} <= described


def test_every_schema_is_one() -> None:
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate(schema)


def test_every_schema_is_used() -> None:
    text = str(DOCUMENT)
    for name in SCHEMAS:
        assert f"#/components/schemas/{name}'" in text, name


def test_every_field_of_a_request_says_what_to_write() -> None:
    """That is also the mend in a refusal."""
    for name in ("CreateNetwork", "AddEndpoint", "PublishPorts", "PlanPorts", "UnpublishPorts"):
        for field, schema in SCHEMAS[name]["properties"].items():
            assert schema.get("description"), (name, field)


@pytest.mark.parametrize(
    ("name", "document", "valid"),
    [
        ("CreateNetwork", {"name": "n"}, True),
        ("CreateNetwork", {"name": "n", "bridge": "", "subnets": []}, True),
        ("CreateNetwork", {"name": "-"}, False),
        ("CreateNetwork", {"name": "n", "x": 1}, False),
        ("CreateNetwork", {"name": "n", "host_ipv4": "::1"}, False),
        ("AddEndpoint", {"name": "e", "pid": 1}, True),
        ("AddEndpoint", {"name": "e", "netns": "x", "pid": None, "ipv4": "10.0.0.1"}, True),
        ("AddEndpoint", {"name": "e", "pid": 1, "netns": "", "addresses": []}, True),
        ("AddEndpoint", {"name": "e", "addresses": ["10.0.0.1", "fd00::1"]}, True),
        ("AddEndpoint", {"name": "e"}, False),
        ("AddEndpoint", {"name": "e", "netns": "x", "pid": 1}, False),
        ("AddEndpoint", {"name": "e", "netns": "x\0"}, False),
        ("AddEndpoint", {"name": "e", "addresses": ["10.0.0.1"], "ipv4": "10.0.0.1"}, False),
        ("PublishPorts", {"specs": ["8080:80/tcp", "[::1]:1-2:3-4", "80", "1.2.3.4::80"]}, True),
        ("PublishPorts", {"specs": ["80"], "allow_from": ["10.0.0.0/8", "::1"]}, True),
        ("PublishPorts", {"specs": []}, False),
        ("PublishPorts", {"specs": ["80/icmp"]}, False),
        ("UnpublishPorts", {"all": True}, True),
        ("UnpublishPorts", {"specs": ["80"], "kill": True}, True),
        ("UnpublishPorts", {}, False),
        ("UnpublishPorts", {"specs": ["80"], "all": True}, False),
    ],
)
def test_schemas_say_what_is_taken(name: str, document: Json, *, valid: bool) -> None:
    assert validator(name).is_valid(document) is valid

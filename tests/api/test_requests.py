"""What requests may say, and what is said of those that may not."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.api import convert, schema, words
from hostports.api.decode import decoded
from hostports.errors import UnusableValue
from hostports.model.address import IPAddress, unmapped
from tests.api.fake_service import FakeService
from tests.api.serving import Api

NETWORKS = "/v1/networks"
ENDPOINTS = "/v1/networks/lab/endpoints"
PORTS = "/v1/endpoints/web/ports"
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", NETWORKS, {}, "'name': the field is missing; write up to 128 letters"),
    ("POST", NETWORKS, {"name": "n", "nmae": 1}, "'nmae': there is no such field; use only name"),
    ("POST", NETWORKS, {"name": 1}, "'name': expected text, got a whole number; write up to 128"),
    ("POST", NETWORKS, {"name": "n", "icc": 1}, "'icc': expected true or false, got a whole"),
    ("POST", NETWORKS, {"name": "n", "icc": None}, "'icc': expected true or false, got null"),
    ("POST", NETWORKS, {"name": "n", "subnets": "10.0.0.0/24"}, "'subnets': expected a list, got"),
    ("POST", NETWORKS, {"name": "n", "subnets": [1]}, "'subnets[0]': expected text, got a whole"),
    (
        "POST",
        NETWORKS,
        {"name": "n", "gateway_mode_ipv4": "bridge"},
        "'gateway_mode_ipv4': it can't be 'bridge'; write nat, nat-unprotected, routed or isolated",
    ),
    ("POST", NETWORKS, {"name": "a/b"}, "'a/b': a name is up to 128 letters"),
    ("POST", NETWORKS, {"name": ""}, "'': a name is up to 128 letters"),
    ("POST", NETWORKS, {"name": "n\n"}, "'n\\n': a name is up to 128 letters"),
    (
        "POST",
        NETWORKS,
        {"name": "n", "subnets": ["10.0.0.1/24"]},
        "'10.0.0.1/24': host bits are set; write 10.0.0.0/24",
    ),
    (
        "POST",
        NETWORKS,
        {"name": "n", "subnets": ["fd00::1/64"]},
        "'fd00::1/64': host bits are set; write fd00::/64",
    ),
    ("POST", NETWORKS, {"name": "n", "subnets": ["10.0.0.0"]}, "'10.0.0.0': it is no subnet; wr"),
    ("POST", NETWORKS, {"name": "n", "subnets": ["10.0.0.0/33"]}, "'10.0.0.0/33': it is no subnet"),
    ("POST", NETWORKS, {"name": "n", "subnets": ["::%1/64"]}, "'::%1/64': it is no subnet; write"),
    (
        "POST",
        NETWORKS,
        {"name": "n", "subnets": ["10.0.0.0/255.0.0.0"]},
        "'10.0.0.0/255.0.0.0': it is no subnet; write one as 10.0.0.0/24",
    ),
    (
        "POST",
        NETWORKS,
        {"name": "n", "subnets": ["10.8.0.0/24", "10.9.0.0/24"]},
        "'10.9.0.0/24': 10.8.0.0/24 is the network's subnet of that family",
    ),
    ("POST", NETWORKS, {"name": "n", "host_ipv4": "::1"}, "'::1': it is no IPv4 address; write"),
    ("POST", NETWORKS, {"name": "n", "host_ipv6": "127.0.0.1"}, "'127.0.0.1': it is no IPv6 addr"),
    ("POST", NETWORKS, {"name": "n", "host_ipv4": "1.2.3"}, "'1.2.3': it is no IP address; write"),
    ("POST", NETWORKS, {"name": "n", "bridge": "br*"}, "'br*': a bridge is one interface, no patt"),
    ("POST", NETWORKS, {"name": "n", "bridge": "a b"}, "'a b': it is no name of an interface"),
    (
        "POST",
        NETWORKS,
        {"name": "n", "trusted_host_interfaces": ["eth0; drop"]},
        "'eth0; drop': it is no name of an interface",
    ),
    (
        "POST",
        NETWORKS,
        {"name": "n", "trusted_host_interfaces": [""]},
        "'': it is no name of an in",
    ),
    ("POST", ENDPOINTS, {"name": "e"}, "'e': it has neither a namespace nor an address; write one"),
    ("POST", ENDPOINTS, {"name": "e", "netns": "", "addresses": []}, "'e': it has neither a names"),
    ("POST", ENDPOINTS, {"name": "e", "netns": "e", "pid": 1}, "'e': it has netns and pid; write"),
    ("POST", ENDPOINTS, {"name": "e", "pid": 0}, "'pid': expected a whole number >= 1; write the"),
    ("POST", ENDPOINTS, {"name": "e", "pid": 1 << 80}, "'pid': expected a whole number <= 4194304"),
    ("POST", ENDPOINTS, {"name": "e", "pid": 1.5}, "'pid': expected a whole number or null, got"),
    ("POST", ENDPOINTS, {"name": "e", "netns": "a\0b"}, "'a\\x00b': a path has no null character"),
    ("POST", ENDPOINTS, {"name": "e", "addresses": ["web"]}, "'web': it is no IP address; write"),
    (
        "POST",
        ENDPOINTS,
        {"name": "e", "addresses": ["10.0.0.3", "10.0.0.4"]},
        "'10.0.0.4': 10.0.0.3 is of that family, too; write one address a family",
    ),
    (
        "POST",
        ENDPOINTS,
        {"name": "e", "addresses": ["10.0.0.3"], "ipv4": "10.0.0.3"},
        "'e': ipv4 and ipv6 are for a namespace; write them into addresses",
    ),
    (
        "POST",
        ENDPOINTS,
        {"name": "e", "pid": 1, "ipv4": "fe80::1%eth0"},
        "'fe80::1%eth0': it is no",
    ),
    ("POST", PORTS, {}, "'specs': the field is missing; write a list of what stands behind -p"),
    ("POST", PORTS, {"specs": []}, "'specs': expected a list of length >= 1; write a list of what"),
    ("POST", PORTS, {"specs": ["web"]}, "'web': 'web' is no container port; write a number from"),
    ("POST", PORTS, {"specs": ["80/icmp"]}, "'80/icmp': 'icmp' is no protocol whose ports can be"),
    ("POST", PORTS, {"specs": ["0-65535"] * 5}, "'0-65535': with it there are more ports than a"),
    ("POST", PORTS, {"specs": ["80"], "mode": "dnat"}, "'mode': it can't be 'dnat'; write nat or"),
    ("POST", PORTS, {"specs": ["80"], "mode": None}, "'mode': expected text, got null; write nat"),
    (
        "POST",
        PORTS,
        {"specs": ["80"], "proxy_protocol": "v1"},
        "'proxy_protocol': it can't be 'v1'; write v2 or null",
    ),
    (
        "POST",
        PORTS,
        {"specs": ["80"], "allow_from": ["all"]},
        "'all': it is neither a subnet nor an address; write",
    ),
    (
        "POST",
        PORTS,
        {"specs": ["80"], "allow_from": ["10.0.0.1/8"]},
        "'10.0.0.1/8': host bits are set; write 10.0.0.0/8",
    ),
    ("DELETE", PORTS, {}, "'specs': no ports are to be taken back; write specs, or \"all\": true"),
    (
        "DELETE",
        PORTS,
        {"all": True, "specs": ["80"]},
        "'specs': all and some ports are to be taken",
    ),
    ("DELETE", PORTS, {"all": "yes"}, "'all': expected true or false, got text; write true for"),
    ("POST", "/v1/plan", {"specs": ["80"]}, "'endpoint': the field is missing; write up to 128"),
]


@pytest.mark.parametrize(("method", "path", "document", "line"), REFUSED)
def test_a_refusal_names_the_input_the_reason_and_the_mend(
    web: Api, method: str, path: str, document: dict[str, Any], line: str
) -> None:
    before = web.service.dump()
    answer = web.call(method, path, document)
    assert (answer.status, answer.code) == (400, "unusable_input")
    assert f"{answer.message}; {answer.hint}".startswith(line)
    assert web.service.dump() == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a", "name": "b"}',
        b'{"name": "a", "n\\u0061me": "a"}',
        b'{"name": "a", "icc": true, "icc": true}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(api: Api, service: FakeService, body: bytes) -> None:
    answer = api.call("POST", "/v1/networks", body=body)
    assert (answer.status, answer.code) == (400, "unusable_input")
    assert "it is there more than once" in answer.message
    assert service.registry.networks() == []


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("force=maybe", "'force': expected true or false, got text; write true"),
        ("force", "'force': expected true or false, got text; write true"),
        ("force=1", "'force': expected true or false, got text; write true"),
        ("forse=true", "'forse': there is no such field; use only force"),
        ("force=true&force=false", "'force': it is there more than once; write it once"),
    ],
)
def test_a_query_is_looked_at_as_closely_as_a_body(web: Api, query: str, line: str) -> None:
    answer = web.call("DELETE", f"/v1/networks/lab?{query}")
    assert (answer.status, answer.code) == (400, "unusable_input")
    assert f"{answer.message}; {answer.hint}".startswith(line)
    assert web.call("GET", "/v1/networks/lab").status == 200


@pytest.mark.parametrize("path", ["/v1/networks", "/v1/health", "/v1/events", "/v1/openapi.json"])
def test_a_query_where_none_belongs_is_refused(api: Api, path: str) -> None:
    answer = api.call("GET", f"{path}?x=1")
    assert (answer.status, answer.message) == (400, "'x': there is no such field")
    assert api.call("POST", "/v1/networks?x=1", {"name": "n"}).status == 400


T = TypeVar("T")


def refusal_of(read: Callable[[T], object], given: T) -> str:
    """What is said of it; nothing if it is taken."""
    try:
        read(given)
    except UnusableValue as refusal:
        return str(refusal)
    return ""


def published(body: bytes) -> object:
    return convert.ports_request("web", decoded(body, schema.PublishPorts))


@given(st.ip_addresses(), st.data())
def test_a_subnet_means_itself_or_is_refused_with_the_one_it_is_in(
    ip: IPAddress, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, ip.max_prefixlen))
    text = f"{ip}/{length}"
    meant = ip_network(text, strict=False)
    if meant.network_address == ip:
        assert words.subnet(text) == meant
        return
    with pytest.raises(UnusableValue) as refusal:
        words.subnet(text)
    assert words.subnet(refusal.value.hint.removeprefix("write ")) == meant


@given(st.ip_addresses())
def test_an_address_is_itself_and_a_source_of_one(ip: IPAddress) -> None:
    assert words.address(str(ip)) == unmapped(ip)
    assert [*words.source(str(ip))] == [unmapped(ip)]


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused_in_one_line(text: str) -> None:
    for read in (words.address, words.subnet, words.source):
        assert refusal_of(read, text).isprintable()


@given(st.binary(max_size=60))
def test_any_body_is_a_request_or_refused_in_one_line(body: bytes) -> None:
    assert refusal_of(published, body).isprintable()

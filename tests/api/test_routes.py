import asyncio
import json
import socket
from ipaddress import IPv4Address

import pytest
from aiohttp.web import AppRunner, SockSite

from hostports.api.routes import ROUTES, application
from hostports.engine.restart import serve_again
from hostports.errors import FirewallFailed
from hostports.model.port import Protocol
from hostports.model.published import Ways
from hostports.testing.faults import EVERY
from tests.api.fake_service import FakeService
from tests.api.serving import VERSION, Api, Json, serving

LAB: Json = {
    "name": "lab",
    "bridge": "hp-lab",
    "subnets": ["10.0.0.0/24", "fd00:1::/64"],
    "gateway_mode_ipv4": "nat",
    "gateway_mode_ipv6": "nat",
    "host_ipv4": None,
    "host_ipv6": None,
    "internal": False,
    "icc": True,
    "masquerade": True,
    "trusted_host_interfaces": [],
    "existing_bridge": False,
    "ports_only": False,
}
WEB: Json = {
    "name": "web",
    "network": "lab",
    "addresses": ["10.0.0.2", "fd00:1::2"],
    "kind": "address",
    "namespace": "",
    "mac": None,
    "follows": [],
    "lost": [],
}
BINDING: Json = {
    "endpoint": "web",
    "network": "lab",
    "proto": "tcp",
    "host_ip": "0.0.0.0",
    "host_port": 8080,
    "container_ip": "10.0.0.2",
    "container_port": 80,
    "gateway_mode": "nat",
    "mode": "nat",
    "path": "nat+relay",
    "allow_from": [],
    "proxy_protocol": None,
    "child_host_ip": None,
    "interface": None,
    "packets": 0,
    "bytes": 0,
    "connections": 0,
    "created": "2026-01-02T03:04:05Z",
}
BINDING6 = BINDING | {"host_ip": "::", "container_ip": "fd00:1::2"}


def test_a_network_is_shown_as_it_was_created(web: Api) -> None:
    assert web.call("GET", "/v1/networks/lab").document == LAB
    assert web.call("GET", "/v1/networks").document == {"networks": [LAB]}


def test_what_is_left_out_of_a_network_is_chosen(api: Api) -> None:
    made = api.made("/v1/networks", {"name": "n"})
    assert made["bridge"] == "hp-n"
    assert made["subnets"][0] == "10.87.0.0/24"
    assert made["subnets"][1].startswith("fd")


def test_an_empty_bridge_and_no_subnets_mean_choose(api: Api) -> None:
    chosen = api.made("/v1/networks", {"name": "n", "bridge": "", "subnets": []})
    assert chosen["bridge"] == "hp-n"
    assert len(chosen["subnets"]) == 2


def test_every_field_of_a_network_is_taken(api: Api) -> None:
    wanted = {
        "name": "other",
        "bridge": "br7",
        "subnets": ["192.0.2.0/24", "2001:db8:1::/64"],
        "gateway_mode_ipv4": "routed",
        "gateway_mode_ipv6": "isolated",
        "host_ipv4": "198.51.100.7",
        "host_ipv6": "2001:db8::7",
        "internal": True,
        "icc": False,
        "masquerade": False,
        "trusted_host_interfaces": ["eth1", "tun+"],
        "existing_bridge": False,
        "ports_only": False,
    }
    assert api.made("/v1/networks", wanted) == wanted


def test_an_endpoint_shows_what_it_wants_and_can_not_have(web: Api, service: FakeService) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    service.relay.remove([each.binding for each in service.relay.held()])
    taken = service.kernel.open(Protocol.TCP, IPv4Address("0.0.0.0"), 8080, reuseaddr=True)
    service.kernel.listen(taken)
    serve_again(service.registry, service.store.load())
    lost = WEB | {"lost": ["0.0.0.0:8080:10.0.0.2:80/tcp"]}
    assert web.call("GET", "/v1/endpoints/web").document == lost
    assert web.call("GET", "/v1/networks/lab/endpoints").document == {"endpoints": [lost]}


def test_a_removed_network_is_gone(api: Api, service: FakeService) -> None:
    empty = service.dump()
    api.made("/v1/networks", {"name": "lab"})
    answer = api.call("DELETE", "/v1/networks/lab")
    assert (answer.status, answer.body) == (204, b"")
    assert service.dump() == empty


@pytest.mark.parametrize("how", ["", "?force=false"])
def test_a_network_with_endpoints_stays_without_force(web: Api, how: str) -> None:
    answer = web.call("DELETE", f"/v1/networks/lab{how}")
    assert (answer.status, answer.code) == (409, "conflict")
    assert "'web'" in answer.message


def test_force_removes_a_network_with_its_endpoints_and_ports(web: Api) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    assert web.call("DELETE", "/v1/networks/lab?force=true").status == 204
    assert web.call("GET", "/v1/endpoints").document == {"endpoints": []}
    assert web.call("GET", "/v1/ports").document == {"bindings": []}


def test_an_endpoint_is_shown_as_it_was_added(web: Api) -> None:
    web.made("/v1/networks", {"name": "other"})
    assert web.call("GET", "/v1/endpoints/web").document == WEB
    assert web.call("GET", "/v1/endpoints").document == {"endpoints": [WEB]}
    assert web.call("GET", "/v1/networks/lab/endpoints").document == {"endpoints": [WEB]}
    assert web.call("GET", "/v1/networks/other/endpoints").document == {"endpoints": []}


@pytest.mark.parametrize(
    ("where", "namespace"),
    [
        ({"netns": "blue"}, "/run/netns/blue"),
        ({"netns": "/run/x/blue"}, "/run/x/blue"),
        ({"pid": 812}, "/proc/812/ns/net"),
        ({"pid": 812, "netns": None, "addresses": None}, "/proc/812/ns/net"),
        ({"pid": 812, "netns": "", "addresses": []}, "/proc/812/ns/net"),
    ],
)
def test_an_endpoint_with_a_namespace_gets_addresses(web: Api, where: Json, namespace: str) -> None:
    made = web.made("/v1/networks/lab/endpoints", {"name": "db"} | where)
    assert made == WEB | {
        "name": "db",
        "kind": "namespace",
        "namespace": namespace,
        "addresses": ["10.0.0.3", "fd00:1::3"],
        "mac": "02:42:0a:00:00:03",
    }


def test_an_endpoint_with_a_namespace_may_choose_its_addresses(web: Api) -> None:
    wanted = {"name": "db", "pid": 1, "ipv4": "10.0.0.77", "ipv6": "fd00:1::77"}
    made = web.made("/v1/networks/lab/endpoints", wanted)
    assert made["addresses"] == ["10.0.0.77", "fd00:1::77"]


def test_addresses_may_come_in_any_order(web: Api) -> None:
    wanted = {"name": "db", "addresses": ["fd00:1::7", "10.0.0.7"]}
    made = web.made("/v1/networks/lab/endpoints", wanted)
    assert made["addresses"] == ["10.0.0.7", "fd00:1::7"]


def test_a_removed_endpoint_is_gone_with_its_ports(web: Api, service: FakeService) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    assert web.call("DELETE", "/v1/endpoints/web").status == 204
    assert web.call("GET", "/v1/endpoints/web").status == 404
    assert service.dump()["published"] == {}


def test_ports_are_published_and_shown(web: Api) -> None:
    published = web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    assert published == {"bindings": [BINDING, BINDING6], "warnings": []}
    for path in ("/v1/ports", "/v1/endpoints/web/ports"):
        assert web.call("GET", path).document == {"bindings": [BINDING, BINDING6]}


def test_every_field_of_a_publication_is_taken(web: Api) -> None:
    wanted = {
        "specs": ["127.0.0.1:8080:80"],
        "mode": "relay",
        "allow_from": ["192.0.2.0/24", "192.0.2.9", "2001:db8::/32"],
        "proxy_protocol": "v2",
    }
    (binding,) = web.made("/v1/endpoints/web/ports", wanted)["bindings"]
    assert binding == BINDING | {
        "host_ip": "127.0.0.1",
        "mode": "relay",
        "path": "relay",
        "allow_from": ["192.0.2.0/24", "192.0.2.9/32", "2001:db8::/32"],
        "proxy_protocol": "v2",
    }


def test_warnings_come_with_what_was_published(web: Api) -> None:
    web.made("/v1/networks", {"name": "r", "gateway_mode_ipv4": "routed"})
    made = web.made("/v1/networks/r/endpoints", {"name": "e", "netns": "e"})
    assert made["addresses"][0] == "10.87.0.2"
    published = web.made("/v1/endpoints/e/ports", {"specs": ["0.0.0.0:8080:80"]})
    (warning,) = published["warnings"]
    assert "routed" in warning
    assert published["bindings"][0]["host_port"] == 0
    assert published["bindings"][0]["path"] == "routed"


def test_a_range_is_as_many_bindings_as_it_has_ports(web: Api) -> None:
    published = web.made("/v1/endpoints/web/ports", {"specs": ["127.0.0.1:8000-8002:80-82/udp"]})
    ports = [(each["host_port"], each["container_port"]) for each in published["bindings"]]
    assert ports == [(8000, 80), (8001, 81), (8002, 82)]
    assert {each["proto"] for each in published["bindings"]} == {"udp"}


@pytest.mark.parametrize(
    ("asked", "gone", "killed"),
    [
        ({"specs": ["8080:80"]}, [8080], False),
        ({"specs": ["80", "81"]}, [8080, 8081], False),
        ({"all": True}, [8080, 8081], False),
        ({"all": True, "specs": [], "kill": True}, [8080, 8081], True),
    ],
)
def test_unpublishing_tells_what_was_taken_back(
    web: Api, service: FakeService, asked: Json, gone: list[int], *, killed: bool
) -> None:
    specs = ["127.0.0.1:8080:80", "127.0.0.1:8081:81"]
    web.made("/v1/endpoints/web/ports", {"specs": specs})
    answer = web.call("DELETE", "/v1/endpoints/web/ports", asked)
    assert answer.status == 200
    assert [each["host_port"] for each in answer.document["bindings"]] == gone
    assert service.killed is killed
    left = web.call("GET", "/v1/ports").document["bindings"]
    assert {each["host_port"] for each in left} == {8080, 8081} - {*gone}


def test_a_port_that_is_not_published_is_not_found_and_all_others_stay(
    web: Api, service: FakeService
) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    before = service.dump()
    answer = web.call("DELETE", "/v1/endpoints/web/ports", {"specs": ["80", "81"]})
    assert (answer.status, answer.code) == (404, "not_found")
    assert service.dump() == before


def test_a_plan_shows_all_and_changes_nothing(web: Api, service: FakeService) -> None:
    before = service.dump()
    answer = web.call("POST", "/v1/plan", {"endpoint": "web", "specs": ["8080:80"]})
    assert answer.status == 200
    plan = answer.document
    created = {each.pop("created") for each in plan["bindings"]}
    assert len(created) == 1
    expected = [dict(each) for each in (BINDING, BINDING6)]
    assert all(each.pop("created") for each in expected)
    assert plan["bindings"] == expected
    assert plan["sockets"] == ["0.0.0.0:8080/tcp", "[::]:8080/tcp"]
    assert plan["warnings"] == []
    assert len(plan["rules"]) == 2
    assert service.dump() == before


@pytest.mark.parametrize(
    ("ways", "path"),
    [(Ways(relay=False), "nat"), (Ways(nat=False), "relay"), (Ways(), "nat+relay")],
)
def test_a_planned_port_is_reached_by_the_ways_that_there_are(ways: Ways, path: str) -> None:
    with serving(ways=ways) as api:
        api.service.furnish()
        plan = api.call("POST", "/v1/plan", {"endpoint": "web", "specs": ["8080:80"]}).document
        assert [each["path"] for each in plan["bindings"]] == [path, path]


def test_reload_makes_the_firewall_anew(api: Api) -> None:
    assert api.call("POST", "/v1/reload").status == 204


def test_the_doctor_tells_findings_and_mends(api: Api) -> None:
    assert api.call("GET", "/v1/doctor").document == {
        "findings": [
            {"severity": "ok", "what": "nft is there", "mend": "", "where": "", "ports": []},
            {
                "severity": "problem",
                "what": "ufw drops what is forwarded",
                "mend": "ufw route allow",
                "where": "table filter, chain FORWARD",
                "ports": ["0.0.0.0:80/tcp"],
            },
        ]
    }


def test_a_trace_is_told_line_by_line(api: Api) -> None:
    asked = {"port": 53, "address": "192.0.2.10", "protocol": "udp", "seconds": 5, "probe": True}
    answer = api.call("POST", "/v1/trace", asked)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    told = [json.loads(line)["sentence"] for line in answer.body.splitlines()]
    assert told == ["Waiting 5 s for 192.0.2.10:53/udp.", "One was sent."]


@pytest.mark.parametrize(
    "asked",
    [{}, {"port": 0}, {"port": 80, "seconds": 0}, {"port": 80, "address": "x"}, {"port": "80"}],
)
def test_a_trace_of_nothing_is_refused(api: Api, asked: dict[str, object]) -> None:
    assert api.call("POST", "/v1/trace", asked).status == 400


def test_what_can_not_be_followed_is_an_error_before_the_first_line(api: Api) -> None:
    """So a client need not look for it in a stream."""
    api.service.broken = FirewallFailed("nft is not there")
    try:
        answer = api.call("POST", "/v1/trace", {"port": 80})
    finally:
        api.service.broken = None
    assert (answer.status, answer.message) == (500, "nft is not there")


def test_health_tells_the_version(api: Api) -> None:
    answer = api.call("GET", "/v1/health")
    assert answer.document == {"status": "ok", "version": "1.2.3"}
    assert answer.headers["Content-Type"] == "application/json"


def test_head_has_the_headers_of_get_and_no_body(web: Api) -> None:
    answer = web.call("HEAD", "/v1/networks")
    body = web.call("GET", "/v1/networks").body
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(body))


def test_one_connection_carries_many_requests(web: Api) -> None:
    with web.connect() as connection:
        for _ in range(3):
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_unix_socket_serves_as_well() -> None:
    """As the daemon does: it makes the socket, and aiohttp takes it."""

    async def asked(listening: socket.socket) -> bytes:
        runner = AppRunner(application(FakeService(), VERSION))
        await runner.setup()
        await SockSite(runner, listening).start()
        reader, writer = await asyncio.open_unix_connection(listening.getsockname())
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await runner.cleanup()
        return answer

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")  # Linux chooses an abstract address, which leaves no file (unix(7))
        listening.listen()
        assert asyncio.run(asked(listening)).startswith(b"HTTP/1.1 200")


def test_a_failed_publication_leaves_nothing(web: Api, service: FakeService) -> None:
    before = service.dump()
    for step in ("firewall.apply", "relay.add", "sockets.listen", "store.record"):
        service.faults.failing = {step: [EVERY]}
        answer = web.call("POST", "/v1/endpoints/web/ports", {"specs": ["8080:80", "81"]})
        assert answer.status == 500, step
        service.faults.failing = {}
        assert service.dump() == before, step


NAMED = {f"{route.method} {route.path}": route for route in ROUTES if route.named}
STRANGE = ("nobody", "..", "%2E%2E", "%00", "%FF", "a%2Fb", "%20", "%E2%82%AC", "x" * 999)
BODIES: dict[str, Json] = {
    "POST /v1/networks/{name}/endpoints": {"name": "e", "pid": 1},
    "POST /v1/endpoints/{name}/ports": {"specs": ["80"]},
    "DELETE /v1/endpoints/{name}/ports": {"all": True},
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("key", NAMED)
def test_no_name_in_a_path_is_too_strange(web: Api, key: str, name: str) -> None:
    """Whatever stands there, there is nothing of that name."""
    route = NAMED[key]
    answer = web.call(route.method, route.path.replace("{name}", name), BODIES.get(key))
    assert (answer.status, answer.code) == (404, "not_found")

"""What each command asks the daemon, and how it shows the answer."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.samples import ENDPOINT, IPV4, IPV6, NETWORK, ROUTED, UDP, VM, binding
from tests.client.server import FakeServer, Json, Reply, answer, stream

BOTH = {"bindings": [IPV4, IPV6]}
PUBLISHED = {**BOTH, "warnings": ["the host port is ignored"]}
ASKED: Json = {"mode": "nat", "allow_from": [], "proxy_protocol": None}
FINDINGS: Json = {
    "findings": [
        {"severity": "ok", "what": "nft is there", "mend": ""},
        {"severity": "warning", "what": "ufw drops", "mend": "ufw allow 80"},
    ]
}

#: A command line; its request, with a body; the answer; what people see.
COMMANDS: list[tuple[str, str, Json | None, Json | None, list[str]]] = [
    (
        "network create lab",
        "POST /v1/networks",
        {"name": "lab"},
        NETWORK,
        ["network lab created: bridge hp-lab, 10.87.1.0/24, fd00:1::/64"],
    ),
    (
        "network create lab --bridge br0 --subnet 10.0.0.0/24 --subnet fd00::/64"
        " --gateway-mode-ipv4 nat-unprotected --gateway-mode-ipv6 routed --host-ipv4 192.0.2.1"
        " --host-ipv6 2001:db8::1 --internal --no-icc --no-masquerade"
        " --trusted-host-interface tun+ --trusted-host-interface eth1 --existing-bridge",
        "POST /v1/networks",
        {
            "name": "lab",
            "bridge": "br0",
            "subnets": ["10.0.0.0/24", "fd00::/64"],
            "gateway_mode_ipv4": "nat-unprotected",
            "gateway_mode_ipv6": "routed",
            "host_ipv4": "192.0.2.1",
            "host_ipv6": "2001:db8::1",
            "internal": True,
            "icc": False,
            "masquerade": False,
            "trusted_host_interfaces": ["tun+", "eth1"],
            "existing_bridge": True,
        },
        NETWORK,
        ["network lab created: bridge hp-lab, 10.87.1.0/24, fd00:1::/64"],
    ),
    (
        "network create pods --bridge veth0 --ports-only",
        "POST /v1/networks",
        {"name": "pods", "bridge": "veth0", "ports_only": True},
        {**NETWORK, "name": "pods", "bridge": "veth0", "subnets": []},
        ["network pods created: bridge veth0"],
    ),
    (
        "network ls",
        "GET /v1/networks",
        None,
        {"networks": [NETWORK]},
        [
            "NAME  BRIDGE  SUBNETS                    IPV4  IPV6    OPTIONS",
            "lab   hp-lab  10.87.1.0/24, fd00:1::/64  nat   routed  no icc",
        ],
    ),
    (
        "network inspect lab",
        "GET /v1/networks/lab",
        None,
        NETWORK,
        [
            "PROPERTY                 VALUE",
            "name                     lab",
            "bridge                   hp-lab",
            "subnets                  10.87.1.0/24, fd00:1::/64",
            "gateway mode ipv4        nat",
            "gateway mode ipv6        routed",
            "internal                 no",
            "icc                      no",
            "masquerade               yes",
            "trusted host interfaces  tun+",
            "existing bridge          no",
            "ports only               no",
        ],
    ),
    ("network rm lab", "DELETE /v1/networks/lab", None, None, ["network lab removed"]),
    (
        "network rm lab --force",
        "DELETE /v1/networks/lab?force=true",
        None,
        None,
        ["network lab removed"],
    ),
    (
        "endpoint add lab web --pid 7 --ipv4 10.87.1.2 --ipv6 fd00:1::2",
        "POST /v1/networks/lab/endpoints",
        {"name": "web", "pid": 7, "ipv4": "10.87.1.2", "ipv6": "fd00:1::2"},
        ENDPOINT,
        ["endpoint web added to lab: 10.87.1.2, fd00:1::2"],
    ),
    (
        "endpoint add lab web --netns web",
        "POST /v1/networks/lab/endpoints",
        {"name": "web", "netns": "web"},
        ENDPOINT,
        ["endpoint web added to lab: 10.87.1.2, fd00:1::2"],
    ),
    (
        "endpoint add lab vm --address 10.87.1.2 --address fd00:1::2",
        "POST /v1/networks/lab/endpoints",
        {"name": "vm", "addresses": ["10.87.1.2", "fd00:1::2"]},
        VM,
        ["endpoint vm added to lab: 10.87.1.2, fd00:1::2"],
    ),
    (
        "endpoint ls",
        "GET /v1/endpoints",
        None,
        {"endpoints": [ENDPOINT, VM]},
        [
            "NAME  NETWORK  ADDRESSES             KIND       NAMESPACE",
            "web   lab      10.87.1.2, fd00:1::2  namespace  /run/netns/web",
            "vm    lab      10.87.1.2, fd00:1::2  address    -",
        ],
    ),
    (
        "endpoint inspect vm",
        "GET /v1/endpoints/vm",
        None,
        VM,
        [
            "PROPERTY   VALUE",
            "name       vm",
            "network    lab",
            "addresses  10.87.1.2, fd00:1::2",
            "kind       address",
        ],
    ),
    ("endpoint rm web", "DELETE /v1/endpoints/web", None, None, ["endpoint web removed"]),
    (
        "publish web 8080:80 127.0.0.1:8000-8010:443/tcp",
        "POST /v1/endpoints/web/ports",
        {"specs": ["8080:80", "127.0.0.1:8000-8010:443/tcp"], **ASKED},
        PUBLISHED,
        ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"],
    ),
    (
        "publish web 80 --mode relay --allow-from 10.0.0.0/8 --allow-from fd00::/8"
        " --proxy-protocol v2",
        "POST /v1/endpoints/web/ports",
        {
            "specs": ["80"],
            "mode": "relay",
            "allow_from": ["10.0.0.0/8", "fd00::/8"],
            "proxy_protocol": "v2",
        },
        BOTH,
        ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"],
    ),
    (
        "publish web 192.0.2.1:80:80 --wait-address 2.5",
        "POST /v1/endpoints/web/ports",
        {"specs": ["192.0.2.1:80:80"], **ASKED, "wait_address": 2.5},
        BOTH,
        ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"],
    ),
    (
        "unpublish web 8080:80 --kill",
        "DELETE /v1/endpoints/web/ports",
        {"specs": ["8080:80"], "kill": True},
        BOTH,
        ["unpublished 80/tcp -> 0.0.0.0:8080", "unpublished 80/tcp -> [::]:8080"],
    ),
    (
        "unpublish web --all",
        "DELETE /v1/endpoints/web/ports",
        {"all": True},
        {"bindings": [ROUTED]},
        ["unpublished 443/tcp -> 10.88.0.2:443 (routed)"],
    ),
    (
        "plan web 8080:80 --mode relay",
        "POST /v1/plan",
        {"endpoint": "web", "specs": ["8080:80"], **ASKED, "mode": "relay"},
        {**PUBLISHED, "sockets": ["0.0.0.0:8080/tcp"], "rules": ["add rule a {\n\tb\n}"]},
        [
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> [::]:8080",
            "sockets:",
            "  0.0.0.0:8080/tcp",
            "rules:",
            "  add rule a {",
            "      b",
            "  }",
        ],
    ),
    ("reload", "POST /v1/reload", None, None, ["firewall re-applied"]),
    (
        "doctor",
        "GET /v1/doctor",
        None,
        FINDINGS,
        ["ok: nft is there", "warning: ufw drops", "  mend: ufw allow 80"],
    ),
]
LINES = [line for line, *_ in COMMANDS]


@pytest.mark.parametrize(("line", "request_line", "body", "document", "shown"), COMMANDS, ids=LINES)
def test_a_command_is_one_request_and_shows_its_answer(
    server: FakeServer,
    cli: Cli,
    line: str,
    request_line: str,
    body: Json | None,
    document: Json | None,
    shown: list[str],
) -> None:
    server.on(request_line, answer(document))
    done = cli(*line.split())
    assert (done.status, done.out.splitlines()) == (0, shown)
    (sent,) = server.requests
    assert sent.body == body
    warnings = (document or {}).get("warnings", [])
    assert done.err.splitlines() == [f"hostports: warning: {each}" for each in warnings]


@pytest.mark.parametrize(("line", "request_line", "body", "document", "shown"), COMMANDS, ids=LINES)
def test_as_json_the_answer_is_all_there_is(
    server: FakeServer,
    cli: Cli,
    line: str,
    request_line: str,
    body: Json | None,  # noqa: ARG001 - one table for both tests
    document: Json | None,
    shown: list[str],  # noqa: ARG001 - see above
) -> None:
    server.on(request_line, answer(document))
    done = cli(*line.split(), "--json")
    assert (done.status, done.document, done.err) == (0, document or {}, "")
    assert done.out.count("\n") == 1
    assert cli("--json", *line.split()).document == done.document


def test_ls_has_a_row_for_each_binding(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", answer({"bindings": [IPV4, IPV6, ROUTED, UDP]}))
    table = [line.rsplit(maxsplit=1)[0].rstrip() for line in cli("ls").out.splitlines()]
    assert table == [
        "ENDPOINT  PROTO  HOST          CONTAINER      PATH       PACKETS   BYTES  CONNS",
        "web       tcp    0.0.0.0:8080  10.88.0.2:80   nat+relay    12345  1.2 MB      3",
        "web       tcp    [::]:8080     [fd00::2]:80   relay        12345  1.2 MB      3",
        "web       tcp    -             10.88.0.2:443  routed       12345  1.2 MB      3",
        "dns       udp    0.0.0.0:53    10.88.0.2:53   nat+relay    12345  1.2 MB      3",
    ]
    assert cli("ls", "--json").document == {"bindings": [IPV4, IPV6, ROUTED, UDP]}


def test_ls_marks_ports_that_let_only_some_in(server: FakeServer, cli: Cli) -> None:
    limited = {**IPV4, "allow_from": ["192.0.2.0/24"]}
    server.on("GET /v1/ports", answer({"bindings": [limited, IPV6]}))
    _, *rows = cli("ls").out.splitlines()
    assert ["(limited)" in each for each in rows] == [True, False]


def test_ls_of_nothing_shows_heads_alone(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/ports", answer({"bindings": []}))
    assert cli("ls").out.split()[0] == "ENDPOINT"
    assert cli("ls").out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            ["web"],
            [
                "80/tcp -> 0.0.0.0:8080",
                "80/tcp -> [::]:8080",
                "443/tcp -> 10.88.0.2:443 (routed)",
                "80/udp -> 0.0.0.0:8080",
            ],
        ),
        (["web", "80"], ["0.0.0.0:8080", "[::]:8080"]),
        (["web", "80/tcp"], ["0.0.0.0:8080", "[::]:8080"]),
        (["web", "80/udp"], ["0.0.0.0:8080"]),
        (["web", "443"], ["10.88.0.2:443"]),
    ],
)
def test_port_shows_where_an_endpoint_is_reached_as_docker_does(
    server: FakeServer, cli: Cli, words: list[str], shown: list[str]
) -> None:
    ports = [IPV4, IPV6, ROUTED, binding(proto="udp")]
    server.on("GET /v1/endpoints/web/ports", answer({"bindings": ports}))
    done = cli("port", *words)
    assert (done.status, done.out.splitlines()) == (0, shown)
    assert len(cli("port", *words, "--json").document["bindings"]) == len(shown)


@pytest.mark.parametrize("words", [["web"], ["web", "81"], ["web", "80/sctp"]])
def test_port_of_nothing_is_not_found(server: FakeServer, cli: Cli, words: list[str]) -> None:
    ports = [] if words == ["web"] else [IPV4]
    server.on("GET /v1/endpoints/web/ports", answer({"bindings": ports}))
    done = cli("port", *words)
    assert (done.status, done.out) == (5, "")
    assert done.err.startswith("hostports: endpoint 'web' publishes no ")


def test_a_problem_that_the_doctor_finds_is_a_failure(server: FakeServer, cli: Cli) -> None:
    findings = [{"severity": "problem", "what": "FORWARD drops", "mend": "use --mode relay"}]
    server.on("GET /v1/doctor", answer({"findings": findings}))
    done = cli("doctor")
    assert (done.status, done.out) == (1, "problem: FORWARD drops\n  mend: use --mode relay\n")
    assert cli("doctor", "--json").status == 1


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("8080", {"port": 8080, "protocol": "tcp"}),
        ("192.0.2.1:53/UDP", {"port": 53, "protocol": "udp", "address": "192.0.2.1"}),
        ("[2001:db8::1]:80", {"port": 80, "protocol": "tcp", "address": "2001:db8::1"}),
        ("80 --probe --seconds 5", {"port": 80, "protocol": "tcp", "probe": True, "seconds": 5.0}),
    ],
)
def test_a_trace_is_told_sentence_by_sentence(
    server: FakeServer, cli: Cli, words: str, asked: Json
) -> None:
    told = ["A packet comes in by eth0.", "It leaves."]
    server.on("POST /v1/trace", stream([{"sentence": each} for each in told]))
    done = cli("doctor", "--trace", *words.split())
    assert (done.status, done.out.splitlines()) == (0, told)
    (sent,) = server.requests
    assert sent.body == {"seconds": 30.0, "probe": False, **asked}


@pytest.mark.parametrize(
    "text", ["", "x", "0", "65536", "1.2.3.4", ":80", "80/icmp", "80/", "1.2.3.4:", "²"]
)
def test_a_trace_of_no_port_is_wrong_usage(server: FakeServer, cli: Cli, text: str) -> None:
    done = cli("doctor", "--trace", text)
    assert (done.status, server.asked) == (2, [])
    assert "it names no port" in done.err


EVENTS: list[tuple[Json, str]] = [
    (
        {"event": "network.created", "time": "2026-11-24T09:00:00Z", "network": "lab"},
        "2026-11-24T09:00:00Z network lab created",
    ),
    (
        {"event": "endpoint.added", "time": "T", "network": "lab", "endpoint": "web"},
        "T endpoint web added to network lab",
    ),
    (
        {"event": "ports.published", "time": "T", "endpoint": "web", "bindings": [IPV4, IPV6]},
        "T endpoint web publishes 80/tcp -> 0.0.0.0:8080, 80/tcp -> [::]:8080",
    ),
    (
        {"event": "ports.unpublished", "time": "T", "endpoint": "web", "bindings": [IPV4] * 6},
        "T endpoint web no longer publishes "
        + ", ".join(["80/tcp -> 0.0.0.0:8080"] * 4)
        + ", 2 more",
    ),
    (
        {"event": "ports.lost", "time": "T", "endpoint": "web", "message": "nginx has it"},
        "T endpoint web has lost no ports: nginx has it",
    ),
    ({"event": "relay.started", "time": "T"}, "T relay started"),
    ({"event": "what.comes_later", "time": "T", "message": "{x}"}, "T what.comes_later: {x}"),
]


def test_events_are_sentences_one_a_line(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/events", stream([event for event, _ in EVENTS]))
    assert cli("events").out.splitlines() == [sentence for _, sentence in EVENTS]


def test_events_as_json_are_documents_one_a_line(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/events", stream([EVENTS[2][0]] * 3))
    assert cli("events", "--json").out.count("\n") == 3


def test_version_tells_the_daemons_too(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/health", answer({"status": "ok", "version": "9.9"}))
    assert cli("version").out.endswith("daemon 9.9\n")
    assert cli("version", "--json").document["daemon"] == "9.9"


@pytest.mark.parametrize("reply", [None, Reply([b"garbage\r\n"])])
def test_version_needs_no_daemon(server: FakeServer, cli: Cli, reply: Reply | None) -> None:
    words = ["version"] if reply else ["version", "--socket", "/nowhere"]
    if reply:
        server.on("GET /v1/health", reply)
    done = cli(*words)
    assert (done.status, done.err) == (0, "")
    assert "daemon unknown: " in done.out
    assert cli(*words, "--json").document["daemon"] is None


def test_a_relative_namespace_file_is_named_for_the_daemon_which_is_elsewhere(
    server: FakeServer, cli: Cli
) -> None:
    server.on("POST /v1/networks/lab/endpoints", answer(ENDPOINT))
    cli("endpoint", "add", "lab", "web", "--netns", "./ns/web")
    assert server.requests[0].body["netns"] == str(Path.cwd() / "ns" / "web")

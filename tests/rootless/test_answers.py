"""What RootlessKit's answers mean: recorded ones, and those of drivers that don't run here.

The latter (implicit, which goes with pasta; gvisor-tap-vsock; builtin of version 3) need a newer
RootlessKit than Debian 12 has; what they answer is taken from RootlessKit's sources.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.errors import (
    HostportsError,
    NotPermitted,
    PortDriverConflict,
    PortDriverFailed,
    UnusableValue,
)
from hostports.model.address import IPAddress
from hostports.model.host import PortDriverInfo
from hostports.model.port import Protocol, SocketAddress
from hostports.rootless.kit import RootlessKit
from hostports.rootless.words import forwarding_of, info_of, spec_of
from tests.client.server import FakeServer, Reply, serving
from tests.rootless.record import CHILD, HOST, NOBODYS, RECORDINGS, TAKEN_PORT

RECORDED: Final[dict[str, dict[str, str]]] = json.loads(RECORDINGS.read_text())
BOTH: Final = frozenset({"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"})
FORWARDING: Final = ("builtin", "slirp4netns")


def parent(port: int = 8080, ip: str = HOST) -> SocketAddress:
    return SocketAddress(Protocol.TCP, ip_address(ip), port)


WEB, INSIDE = parent(), parent(ip=CHILD)


@dataclass
class Case:
    """A RootlessKit that answers what it is told to, and our side."""

    server: FakeServer
    kit: RootlessKit
    journal: Path

    def on(self, request: str, driver: str, *names: str) -> None:
        """Answer a request as a driver was recorded to."""
        self.server.on(request, *(Reply([RECORDED[driver][each].encode()]) for each in names))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    journal = tmp_path / "forwardings"
    with serving(tmp_path / "api.sock") as server:
        yield Case(server, RootlessKit(server.path, journal), journal)


#: What the network drivers of all of them say.
NETWORK: Final[dict[str, Any]] = {"child_ip": ip_address(CHILD), "network_driver": "slirp4netns"}


@pytest.mark.parametrize(
    ("driver", "meant"),
    [
        ("builtin", PortDriverInfo("builtin", BOTH, hides_clients=True, **NETWORK)),
        (
            "slirp4netns",
            PortDriverInfo(
                "slirp4netns",
                frozenset({"tcp", "tcp4", "udp", "udp4"}),
                disallows_loopback_child_ip=True,
                **NETWORK,
            ),
        ),
        ("none", PortDriverInfo(**NETWORK)),
    ],
)
def test_a_recorded_driver_is_understood(case: Case, driver: str, meant: PortDriverInfo) -> None:
    case.on("GET /v1/info", driver, "info")
    assert case.kit.info() == meant
    assert case.kit.info() == meant
    assert case.server.asked == ["GET /v1/info"]


@pytest.mark.parametrize(
    ("version", "said", "meant"),
    [
        (
            "2.3.4",
            {"driver": "implicit", "protos": ["tcp", "udp"]},
            PortDriverInfo("implicit", frozenset({"tcp", "udp"})),
        ),
        (
            "2.3.4",
            {"driver": "gvisor-tap-vsock", "protos": None},
            PortDriverInfo("gvisor-tap-vsock", hides_clients=True),
        ),
        (
            "3.0.0",
            {"driver": "builtin", "protos": [*BOTH]},
            PortDriverInfo("builtin", BOTH, hides_clients=True),
        ),
        ("3.0.0", {"driver": "none", "protos": []}, PortDriverInfo("none")),
        ("1.1.0", None, PortDriverInfo()),
    ],
)
def test_a_driver_that_does_not_run_here_is_understood(
    version: str, said: object, meant: PortDriverInfo
) -> None:
    assert info_of({"version": version, "networkDriver": None, "portDriver": said}) == meant


@pytest.mark.parametrize("driver", FORWARDING)
def test_what_is_asked_for_is_what_rootlesskit_shows_and_ends(case: Case, driver: str) -> None:
    case.on("POST /v1/ports", driver, "added")
    case.on("GET /v1/ports", driver, "none listed", "listed", "none listed")
    case.on("DELETE /v1/ports/1", driver, "removed")
    assert case.kit.forwardings() == {}
    case.kit.add(WEB, INSIDE)
    assert case.server.requests[-1].body == {
        "proto": "tcp4",
        "parentIP": HOST,
        "parentPort": 8080,
        "childIP": CHILD,
        "childPort": 8080,
    }
    assert case.kit.forwardings() == {WEB: INSIDE}
    case.kit.remove(WEB)
    assert case.kit.forwardings() == {}


#: What a driver refuses, what that means, and what the message must say.
REFUSALS: Final = [
    ("builtin", "added twice", WEB, PortDriverConflict, "conflict with ID 1"),
    ("builtin", "taken", parent(TAKEN_PORT), PortDriverConflict, "address already in use"),
    ("builtin", "privileged", parent(80), NotPermitted, "ip_unprivileged_port_start=80"),
    ("builtin", "no such address", parent(8081, NOBODYS), UnusableValue, "no interface has"),
    ("slirp4netns", "added twice", WEB, PortDriverConflict, "conflict with ID 1"),
    *(
        ("slirp4netns", name, WEB, PortDriverConflict, "'slirp4netns' doesn't say why")
        for name in ("taken", "privileged", "no such address")
    ),
    ("none", "added", WEB, PortDriverFailed, "no PortDriver is available"),
    ("builtin", "unknown path", WEB, PortDriverFailed, "404 page not found"),
]


@pytest.mark.parametrize(("driver", "name", "asked", "meant", "said"), REFUSALS)
def test_a_refusal_says_what_helps_and_whether_another_port_may(
    case: Case,
    driver: str,
    name: str,
    asked: SocketAddress,
    meant: type[HostportsError],
    said: str,
) -> None:
    case.on("GET /v1/info", driver, "info")
    case.on("POST /v1/ports", driver, name)
    with pytest.raises(meant) as caught:
        case.kit.add(asked, INSIDE)
    assert type(caught.value) is meant
    assert str(asked) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_refused_is_not_noted_as_ours(case: Case) -> None:
    case.on("GET /v1/info", "builtin", "info")
    case.on("POST /v1/ports", "builtin", "taken")
    case.on("GET /v1/ports", "builtin", "listed")
    with pytest.raises(PortDriverConflict):
        case.kit.add(WEB, INSIDE)
    assert case.kit.forwardings() == {}


def test_what_somebody_else_has_ended_needs_no_end(case: Case) -> None:
    case.on("POST /v1/ports", "builtin", "added")
    case.on("DELETE /v1/ports/1", "builtin", "removed twice")
    case.on("GET /v1/ports", "builtin", "none listed")
    case.kit.add(WEB, INSIDE)
    case.kit.remove(WEB)
    assert case.kit.forwardings() == {}


def test_what_can_not_be_ended_is_told_and_stays_ours(case: Case) -> None:
    case.on("POST /v1/ports", "slirp4netns", "added")
    case.on("DELETE /v1/ports/1", "slirp4netns", "removed twice")
    case.on("GET /v1/ports", "slirp4netns", "listed")
    case.kit.add(WEB, INSIDE)
    with pytest.raises(PortDriverFailed, match=r"bad arguments.*rootlessctl remove-ports 1"):
        case.kit.remove(WEB)
    assert case.kit.forwardings() == {WEB: INSIDE}


def test_a_forwarding_of_somebody_else_is_not_ours(case: Case) -> None:
    case.on("GET /v1/ports", "builtin", "listed")
    assert case.kit.forwardings() == {}
    case.journal.write_text(f"+ tcp {HOST} 8080\n")
    assert RootlessKit(case.server.path, case.journal).forwardings() == {WEB: INSIDE}


def test_what_others_ended_is_ours_no_more_though_somebody_asks_for_the_same(case: Case) -> None:
    case.on("POST /v1/ports", "builtin", "added")
    case.on("GET /v1/ports", "builtin", "none listed", "listed")
    case.kit.add(WEB, INSIDE)
    assert case.kit.forwardings() == {}
    assert case.kit.forwardings() == {}


def test_what_a_killed_daemon_was_just_writing_is_passed_over(case: Case) -> None:
    case.on("GET /v1/ports", "builtin", "listed")
    case.journal.write_text(f"+ tcp {HOST} 8080\n+ udp 192.0.2.1")
    assert case.kit.forwardings() == {WEB: INSIDE}


@pytest.mark.parametrize("text", ["who?\n", "+ tcp nowhere 80\n", "+ tcp\n", "é\n"])
def test_a_journal_that_makes_no_sense_is_told(case: Case, text: str) -> None:
    case.journal.write_text(text)
    with pytest.raises(PortDriverFailed, match=f"{case.journal}, where forwardings"):
        case.kit.add(WEB, INSIDE)
    assert case.server.asked == []


@pytest.mark.parametrize(
    "listed",
    [
        {"id": 1, "spec": {"proto": "tcp", "parentIP": "0.0.0.0", "parentPort": 80}},
        {"id": 1, "spec": {"proto": "tcp4", "parentPort": 80, "childPort": 80}},
        {"id": 1, "spec": {"proto": "icmp4", "parentIP": "0.0.0.0"}},
        {"id": 1, "spec": spec_of(WEB, INSIDE) | {"proto": "tcp"}},
        {"id": 1, "spec": spec_of(WEB, INSIDE) | {"proto": "tcp6"}},
        {"id": 1, "spec": spec_of(WEB, INSIDE) | {"parentPort": "many"}},
        {"id": 1},
        {"spec": spec_of(WEB, INSIDE)},
        None,
        7,
    ],
    ids=str,
)
def test_a_forwarding_that_we_would_not_ask_for_is_passed_over(listed: object) -> None:
    assert forwarding_of(listed) is None


@given(
    st.sampled_from(Protocol),
    st.ip_addresses(),
    st.integers(1, 65535),
    st.ip_addresses(),
    st.integers(1, 65535),
)
def test_what_is_asked_for_is_understood_when_it_is_listed(
    protocol: Protocol,
    ip: IPAddress,
    port: int,
    child_ip: IPAddress,
    child_port: int,
) -> None:
    asked = SocketAddress(protocol, ip, port), SocketAddress(protocol, child_ip, child_port)
    listed = {"id": 7, "spec": json.loads(json.dumps(spec_of(*asked)))}
    assert forwarding_of(listed) == (*asked, 7)


def test_a_rootlesskit_that_is_gone_is_told_with_its_socket(tmp_path: Path) -> None:
    kit = RootlessKit(tmp_path / "api.sock", tmp_path / "forwardings")
    for act in (kit.info, kit.forwardings, lambda: kit.add(WEB, INSIDE), lambda: kit.remove(WEB)):
        with pytest.raises(PortDriverFailed, match=r"api\.sock: no such file or directory; see"):
            act()


def test_a_rootlesskit_that_is_too_old_is_told(case: Case) -> None:
    case.on("GET /v1/info", "builtin", "unknown path")
    with pytest.raises(PortDriverFailed, match="install RootlessKit 0"):
        case.kit.info()


SENSELESS: Final = {
    "no HTTP": Reply([b"who are you?\r\n"]),
    "cut off": Reply([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"]),
    "no JSON": Reply([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{"]),
    "another kind": Reply([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n17"]),
}


@pytest.mark.parametrize("reply", SENSELESS.values(), ids=list(SENSELESS))
def test_an_answer_that_makes_no_sense_is_told_in_a_line(case: Case, reply: Reply) -> None:
    for request in ("GET /v1/info", "GET /v1/ports", "POST /v1/ports"):
        case.server.on(request, reply)
    for act in (case.kit.info, case.kit.forwardings, lambda: case.kit.add(WEB, INSIDE)):
        with pytest.raises(PortDriverFailed, match=r"^RootlessKit[^\n]*$"):
            act()

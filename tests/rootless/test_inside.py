"""The real daemon inside a real RootlessKit: what clients outside of it reach."""

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Final

import pytest

from hostports import Client
from hostports.client.errors import ApiConflict, ApiNotPermitted, ApiUnusable
from hostports.model.port import Protocol, SocketAddress
from hostports.rootless.api import Api
from hostports.rootless.words import spec_of
from tests.e2e.site import SILENCE_S
from tests.netns.namespaces import Namespace, namespace
from tests.relay.peers import listening
from tests.relay.waiting import PATIENCE_S, eventually
from tests.rootless.kit import PYTHON, Kit, rootlesskit

#: Of the namespace outside.
HOST, HOST_IPV6 = "192.0.2.10", "fd00::10"
COMMAND: Final = (PYTHON, "-m", "hostports")
#: A container: it tells every client whom it sees, and first its pid.
CONTAINER: Final = """
import os, selectors, socket
servers = selectors.DefaultSelector()
for family, any_ip in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for kind, port in ((socket.SOCK_STREAM, 80), (socket.SOCK_DGRAM, 53)):
        server = socket.socket(family, kind)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((any_ip, port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        servers.register(server, selectors.EVENT_READ)
print(os.getpid(), flush=True)
while True:
    for key, _ in servers.select():
        server = key.fileobj
        if server.type == socket.SOCK_DGRAM:
            _, peer = server.recvfrom(100)
            server.sendto(peer[0].encode(), peer)
        else:
            connection, peer = server.accept()
            with connection:
                connection.sendall(peer[0].encode())
"""


class Daemon:
    """A daemon inside, and its client, which is outside."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.client = Client(kit.state / "hostports/api.sock")
        self._log = kit.folder / "log"
        self._process: subprocess.Popen[str]

    def start(self, *flags: str) -> None:
        # A file, as the relay has it, too, and outlives the daemon.
        with self._log.open("w") as log:
            self._process = self.kit.start(*COMMAND, "daemon", *flags, log=log)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n", self._log.read_text()

    def end(self, signal: int) -> str:
        """End it by a signal; what it said."""
        with suppress(ProcessLookupError):
            os.kill(self._pid(), signal)
        self._process.wait(PATIENCE_S)
        return self._log.read_text()

    def _pid(self) -> int:
        """Its pid outside: what was started is nsenter, which has entered for its child."""
        pid = self._process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)


@contextmanager
def running(kit: Kit, *flags: str) -> Iterator[Daemon]:
    daemon = Daemon(kit)
    daemon.start(*flags)
    try:
        yield daemon
    finally:
        daemon.end(SIGTERM)


def add_container(daemon: Daemon, name: str = "web") -> None:
    """A network namespace with servers, inside."""
    container = daemon.kit.start("unshare", "--net", PYTHON, "-c", CONTAINER)
    assert container.stdout
    pid = container.stdout.readline().strip()
    daemon.client.add_endpoint("lab", name, netns=f"/proc/{pid}/ns/net")


@contextmanager
def outside() -> Iterator[Namespace]:
    with namespace([f"{HOST}/24", f"{HOST_IPV6}/64"]) as made:
        yield made


@contextmanager
def inside(folder: Path, driver: str, *flags: str) -> Iterator[Daemon]:
    """A daemon with a container, inside a RootlessKit with a port driver."""
    with (
        outside() as parent,
        rootlesskit(parent, folder / "home", f"--port-driver={driver}") as kit,
        running(kit, *flags) as daemon,
    ):
        daemon.client.create_network("lab")
        add_container(daemon)
        yield daemon


@pytest.fixture(params=["builtin", "slirp4netns"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    with inside(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def builtin(tmp_path: Path) -> Iterator[Daemon]:
    with inside(tmp_path, "builtin") as made:
        yield made


def answer(
    daemon: Daemon,
    port: int,
    ip: str = HOST,
    protocol: str = "tcp",
    *,
    seconds: float = PATIENCE_S,
) -> str:
    """Whom a container sees if asked from outside; empty if nobody answers."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with daemon.kit.parent.entered():
        client = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, kind)
    with client:
        client.settimeout(seconds)
        try:
            client.connect((ip, port))
            if kind == socket.SOCK_DGRAM:
                client.send(b"who?")
            return client.recv(100).decode()
        except (ConnectionError, TimeoutError):
            return ""


def publish(daemon: Daemon, *specs: str, **how: Any) -> Sequence[dict[str, Any]]:  # noqa: ANN401 - JSON
    bindings: list[dict[str, Any]] = daemon.client.publish("web", specs, **how)["bindings"]
    return bindings


def forwardings(daemon: Daemon) -> list[tuple[int, str, int]]:
    """What RootlessKit forwards, in order: number, protocol and port."""
    listed = Api(daemon.kit.api).ask("GET", "/v1/ports") or []
    return sorted(
        (each["id"], each["spec"]["proto"], each["spec"]["parentPort"]) for each in listed
    )


def test_a_published_port_is_reached_from_outside_until_it_is_unpublished(daemon: Daemon) -> None:
    assert answer(daemon, 8080) == ""
    publish(daemon, f"{HOST}:8080:80", f"{HOST}:5353:53/udp", "127.0.0.1:8080:80")
    assert answer(daemon, 8080)
    assert answer(daemon, 8080, "127.0.0.1")
    assert answer(daemon, 5353, protocol="udp")
    daemon.client.unpublish("web", [f"{HOST}:8080:80"])
    assert answer(daemon, 8080) == ""
    assert answer(daemon, 8080, "127.0.0.1")
    daemon.client.unpublish("web")
    assert answer(daemon, 8080, "127.0.0.1") == ""
    assert answer(daemon, 5353, protocol="udp") == ""
    assert forwardings(daemon) == []


def test_a_dynamic_port_and_one_of_a_range_are_those_that_are_free_outside(
    daemon: Daemon,
) -> None:
    with listening(daemon.kit.parent, "0.0.0.0", 8000):
        pool, *_ = publish(daemon, "8000-8003:80")
        dynamic, *_ = publish(daemon, "80")
    assert pool["host_port"] in range(8001, 8004)
    assert answer(daemon, pool["host_port"])
    assert answer(daemon, dynamic["host_port"])


def test_a_port_that_is_taken_inside_or_outside_is_a_conflict_that_says_by_whom(
    daemon: Daemon,
) -> None:
    publish(daemon, f"{HOST}:8080:80")
    with pytest.raises(ApiConflict, match=r"192\.0\.2\.10:8080/tcp is published by endpoint 'web'"):
        publish(daemon, f"{HOST}:8080:80")
    with (
        listening(daemon.kit.parent, HOST, 8081),
        pytest.raises(ApiConflict, match=r"192\.0\.2\.10:8081/tcp .* outside RootlessKit"),
    ):
        publish(daemon, f"{HOST}:8081:80", f"{HOST}:8082:80")
    assert [port for *_, port in forwardings(daemon)] == [8080]
    assert publish(daemon, f"{HOST}:8081:80")


def test_a_killed_daemon_leaves_ports_that_the_next_one_takes_over(daemon: Daemon) -> None:
    publish(daemon, f"{HOST}:8080:80", f"{HOST}:8081:80")
    before = forwardings(daemon)
    daemon.end(SIGKILL)
    assert answer(daemon, 8080)
    daemon.start()
    assert forwardings(daemon) == before
    assert answer(daemon, 8080)
    assert len(daemon.client.ports()["bindings"]) == 2
    daemon.client.unpublish("web")
    assert forwardings(daemon) == []


def test_after_a_crash_forwardings_are_those_that_are_wanted_and_others_of_others(
    daemon: Daemon,
) -> None:
    publish(daemon, f"{HOST}:8080:80", f"{HOST}:8081:80")
    ((number, *_), _) = forwardings(daemon)
    daemon.end(SIGKILL)
    api = Api(daemon.kit.api)
    api.ask("DELETE", f"/v1/ports/{number}")
    add_forwarding(api, 9000)
    add_forwarding(api, 9001)
    # As a daemon that was killed before it could record what it had asked for.
    with (daemon.kit.state / "hostports/forwardings").open("a") as journal:
        journal.write(f"+ tcp {HOST} 9000\n")
    daemon.start()
    assert {port for *_, port in forwardings(daemon)} == {8080, 8081, 9001}
    assert answer(daemon, 8080)
    assert answer(daemon, 8081)


def add_forwarding(api: Api, port: int) -> None:
    """As somebody else does, or a daemon that is killed in the next moment."""
    parent = SocketAddress(Protocol.TCP, ip_address(HOST), port)
    child = SocketAddress(Protocol.TCP, ip_address("10.0.2.100"), port)
    api.ask("POST", "/v1/ports", spec_of(parent, child))


def test_ports_come_back_with_another_rootlesskit(tmp_path: Path) -> None:
    """Its driver is another, so that even the child address is."""
    with outside() as parent:
        for driver in ("builtin", "slirp4netns"):
            with (
                rootlesskit(parent, tmp_path / "home", f"--port-driver={driver}") as kit,
                running(kit) as daemon,
            ):
                if driver == "builtin":
                    daemon.client.create_network("lab", subnets=["10.90.0.0/24"])
                    daemon.client.add_endpoint("lab", "web", addresses=["10.90.0.2"])
                    publish(daemon, "8080:80", f"{HOST}:8081:81")
                assert (1, "tcp4", 8080) in forwardings(daemon)
                shown = daemon.client.ports("web")["bindings"]
        assert [each["child_host_ip"] for each in shown] == ["10.0.2.100"] * 2


def test_ipv6_is_forwarded_where_the_driver_can_and_else_left_out_with_a_warning(
    daemon: Daemon,
) -> None:
    published = daemon.client.publish("web", ["8080:80"])
    if len(published["bindings"]) == 2:
        assert answer(daemon, 8080, HOST_IPV6)
        assert published["warnings"] == []
    else:
        assert answer(daemon, 8080, HOST_IPV6) == ""
        (warning,) = published["warnings"]
        assert "left out: RootlessKit's port driver 'slirp4netns' can't forward" in warning


def test_a_driver_that_hides_clients_says_so_where_they_are_to_be_told_apart(
    builtin: Daemon,
) -> None:
    publish(builtin, f"{HOST}:8080:80")
    assert answer(builtin, 8080) != HOST
    for how in ({"allow_from": ["127.0.0.0/8"]}, {"proxy_protocol": "v2"}):
        with pytest.raises(ApiUnusable, match="'builtin' hides who a client is"):
            publish(builtin, f"{HOST}:8081:80", **how)


def test_a_driver_that_shows_clients_lets_them_be_told_apart(tmp_path: Path) -> None:
    with inside(tmp_path, "slirp4netns") as daemon:
        publish(daemon, f"{HOST}:8080:80")
        publish(daemon, f"{HOST}:8081:80", allow_from=[f"{HOST}/32"])
        publish(daemon, f"{HOST}:8082:80", allow_from=["198.51.100.0/24"])
        assert (answer(daemon, 8080), answer(daemon, 8081)) == (HOST, HOST)
        assert answer(daemon, 8082, seconds=SILENCE_S) == ""


def test_a_port_that_only_root_may_have_is_not_permitted(builtin: Daemon) -> None:
    with pytest.raises(ApiNotPermitted, match="ip_unprivileged_port_start=443"):
        publish(builtin, f"{HOST}:443:80")
    builtin.kit.parent.sysctl("net.ipv4.ip_unprivileged_port_start", "443")
    publish(builtin, f"{HOST}:443:80")
    assert answer(builtin, 443)


def test_an_address_that_the_outside_does_not_have_is_named(builtin: Daemon) -> None:
    with pytest.raises(ApiUnusable, match=r"198\.51\.100\.1:8080/tcp'?: outside RootlessKit"):
        publish(builtin, "198.51.100.1:8080:80")


def test_with_rootless_off_ports_are_published_inside_only(tmp_path: Path) -> None:
    with inside(tmp_path, "builtin", "--rootless", "off") as daemon:
        (binding, _) = publish(daemon, "8080:80")
        assert binding["child_host_ip"] is None
        assert forwardings(daemon) == []
        assert answer(daemon, 8080) == ""


def test_without_a_port_driver_the_log_says_that_nothing_is_forwarded(tmp_path: Path) -> None:
    with inside(tmp_path, "none") as daemon:
        publish(daemon, "8080:80")
        assert answer(daemon, 8080) == ""
        assert "it forwards no ports: start it with --port-driver=builtin" in daemon.end(SIGTERM)
        daemon.start()


def test_without_a_relay_a_driver_that_leads_to_loopback_is_refused(tmp_path: Path) -> None:
    with (
        outside() as parent,
        rootlesskit(parent, tmp_path / "home", "--port-driver=builtin") as kit,
    ):
        process = kit.start(*COMMAND, "daemon", "--no-relay")
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert "'--no-relay': port driver 'builtin' leads to loopback" in said


def test_without_a_relay_a_driver_that_leads_elsewhere_is_served_by_rules(tmp_path: Path) -> None:
    with inside(tmp_path, "slirp4netns", "--no-relay") as daemon:
        publish(daemon, f"{HOST}:8080:80", f"{HOST}:5353:53/udp")
        assert answer(daemon, 8080) == HOST
        assert answer(daemon, 5353, protocol="udp") == HOST


def test_commands_inside_find_the_daemon_without_being_told(builtin: Daemon) -> None:
    for flags in ([], ["--down-on-exit"]):
        listed = builtin.kit.start(*COMMAND, "network", "ls")
        assert "lab" in listed.communicate(timeout=PATIENCE_S)[0]
        if not flags:
            builtin.end(SIGTERM)
            builtin.start("--down-on-exit")
    publish(builtin, "8080:80")
    builtin.end(SIGTERM)
    eventually(lambda: forwardings(builtin) == [], "nothing is forwarded")
    builtin.start()

"""What only real sockets in a real kernel can show."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from hostports import BridgeNetwork, Edges, Endpoint, Engine, PublishRequest, parse_spec
from hostports.errors import AddressNotOnHost, AddressOfLink, HostPortInUse
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.holders import holder
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import Protocol, SocketAddress
from hostports.model.relay import RELAY_MODULE
from hostports.relay.client import RelayClient
from hostports.testing import FakeFirewall
from hostports.unix import listening_at
from tests.netns.namespaces import Namespace, namespace

ADDRESSES = ["127.0.0.1/8", "192.0.2.10/24", "::1/128", "fd00:10::2/64"]
WEB = Endpoint("web", BridgeNetwork("lab"), ip_address("172.19.0.2"))  # type: ignore[arg-type]

#: A process that takes a port and waits: family, type, address, port, whether to listen, its name.
HOLD = """
import socket, sys
from pathlib import Path
family, kind, ip, port, listen, name = sys.argv[1:]
Path("/proc/self/comm").write_text(name)
held = socket.socket(int(family), int(kind))
held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
if int(family) == socket.AF_INET6:
    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
held.bind((ip, int(port)))
if listen == "listen":
    held.listen()
print("ready", flush=True)
sys.stdin.read()
"""

#: A process that has only what it inherits.
INHERIT = """
import sys
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace(ADDRESSES) as made, made.entered():
        yield made


@pytest.fixture
def sockets(host: Namespace) -> Iterator[LinuxHostSockets]:  # noqa: ARG001 - within the namespace
    before = descriptors()
    made = LinuxHostSockets()
    yield made
    for held in made.dump():
        made.release(held.address)
    assert descriptors() == before


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def at(text: str, protocol: Protocol = Protocol.TCP) -> SocketAddress:
    ip, _, port = text.rpartition(":")
    return SocketAddress(protocol, ip_address(ip.strip("[]")), int(port))


@contextmanager
def program(text: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[int]:
    """A process that runs until the end of the block, once it has said that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
    ) as process:
        assert process.stdout
        assert process.stdin
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.stdin.close()


@contextmanager
def holding(
    family: int, kind: int, ip: str, port: int, *, listen: bool, name: str = "python"
) -> Iterator[int]:
    """A process that holds a port; gives its pid."""
    how = "listen" if listen else "hold"
    with program(HOLD, str(int(family)), str(int(kind)), ip, str(port), how, name) as pid:
        yield pid


@pytest.mark.parametrize("ip", ["192.0.2.10", "fd00:10::2"])
def test_a_datagram_that_comes_before_the_firewall_is_ready_is_dropped(
    sockets: LinuxHostSockets, ip: str
) -> None:
    address = SocketAddress(Protocol.UDP, ip_address(ip), 5353)
    sockets.reserve(address)
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as client,
        socket.socket(fileno=os.dup(sockets.fileno(address))) as ours,
    ):
        client.sendto(b"early", (ip, 5353))
        sockets.listen(address, relayed=True)
        client.sendto(b"in time", (ip, 5353))
        ours.settimeout(10)
        assert ours.recv(100) == b"in time"


def test_a_connection_is_refused_before_listen_and_accepted_after(
    sockets: LinuxHostSockets,
) -> None:
    address = at("192.0.2.10:8080")
    sockets.reserve(address)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("192.0.2.10", 8080), timeout=10)
    sockets.listen(address, relayed=True)
    with closing(socket.create_connection(("192.0.2.10", 8080), timeout=10)):
        pass


def test_a_port_in_time_wait_can_be_published_at_once(sockets: LinuxHostSockets) -> None:
    address = at("192.0.2.10:8080")
    sockets.reserve(address)
    sockets.listen(address, relayed=True)
    with socket.socket(fileno=os.dup(sockets.fileno(address))) as ours:
        client = socket.create_connection(("192.0.2.10", 8080), timeout=10)
        ours.accept()[0].close()
        assert client.recv(1) == b""
        client.close()
    sockets.release(address)
    sockets.reserve(address)
    sockets.listen(address, relayed=True)


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (at("203.0.113.9:8080"), AddressNotOnHost),
        (at("192.0.2.10:8080"), HostPortInUse),
        (at("[fe80::1]:8080"), AddressOfLink),
    ],
    ids=["address", "port", "link-local"],
)
def test_a_refused_socket_leaves_no_descriptor(
    sockets: LinuxHostSockets, wanted: SocketAddress, refusal: type[Exception]
) -> None:
    with socket.create_server(("0.0.0.0", 8080)):
        before = descriptors()
        with pytest.raises(refusal):
            sockets.reserve(wanted)
        assert descriptors() == before


@pytest.mark.parametrize(("relayed", "most"), [(True, 20000), (False, 0)])
def test_with_a_relay_as_many_connections_wait_as_the_host_allows_and_none_without(
    sockets: LinuxHostSockets,
    host: Namespace,
    relayed: bool,  # noqa: FBT001
    most: int,
) -> None:
    host.sysctl("net.core.somaxconn", "20000")
    address = at("192.0.2.10:8080")
    sockets.reserve(address)
    sockets.listen(address, relayed=relayed)
    assert backlog(sockets.fileno(address)) == most


def backlog(fileno: int) -> int:
    """Of a listening socket, tcpi_sacked is the most connections that wait (net/ipv4/tcp.c)."""
    with socket.socket(fileno=os.dup(fileno)) as listening:
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int(struct.unpack("8x6I", info)[5])


@pytest.mark.parametrize("ip", ["192.0.2.10", "fd00:10::2"])
def test_a_datagram_tells_which_address_the_client_wrote_to(
    sockets: LinuxHostSockets, ip: str
) -> None:
    """So that the relay can answer from there, though the socket is bound to the wildcard."""
    four = ":" not in ip
    family = socket.AF_INET if four else socket.AF_INET6
    address = SocketAddress(Protocol.UDP, ip_address("0.0.0.0" if four else "::"), 5353)
    sockets.reserve(address)
    sockets.listen(address, relayed=True)
    with (
        socket.socket(family, socket.SOCK_DGRAM) as client,
        socket.socket(fileno=os.dup(sockets.fileno(address))) as ours,
    ):
        client.sendto(b"?", (ip, 5353))
        ours.settimeout(10)
        _, ((_, _, info),), *_ = ours.recvmsg(100, 100)
    # struct in_pktinfo ends with the address of the packet's header, in6_pktinfo begins with it.
    assert ip_address(info[-4:] if four else info[:16]) == ip_address(ip)


def test_an_ipv6_address_is_not_on_a_host_that_has_ipv6_switched_off() -> None:
    sockets, wanted = LinuxHostSockets(), at("[::1]:8080")
    with (
        namespace(["127.0.0.1/8"], ipv6=False) as host,
        host.entered(),
        pytest.raises(AddressNotOnHost),
    ):
        sockets.reserve(wanted)


def test_sockets_are_not_inherited_by_programs(sockets: LinuxHostSockets) -> None:
    sockets.reserve(at("192.0.2.10:8080"))
    assert not os.get_inheritable(sockets.fileno(at("192.0.2.10:8080")))


@pytest.mark.parametrize(
    ("holders_ip", "listen", "wanted"),
    [
        ("0.0.0.0", True, at("192.0.2.10:8080")),
        ("192.0.2.10", True, at("0.0.0.0:8080")),
        ("192.0.2.10", False, at("192.0.2.10:8080")),
        ("::", True, at("192.0.2.10:8080")),
        ("fd00:10::2", True, at("[::]:8080")),
        ("0.0.0.0", False, at("0.0.0.0:8080", Protocol.UDP)),
    ],
    ids=["wildcard", "specific", "bound only", "dual stack", "ipv6", "udp"],
)
def test_the_process_that_holds_a_port_is_named(
    sockets: LinuxHostSockets,
    holders_ip: str,
    listen: bool,  # noqa: FBT001
    wanted: SocketAddress,
) -> None:
    family = socket.AF_INET6 if ":" in holders_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if wanted.protocol is Protocol.UDP else socket.SOCK_STREAM
    with holding(family, kind, holders_ip, 8080, listen=listen) as pid:
        with pytest.raises(HostPortInUse):
            sockets.reserve(wanted)
        assert holder(wanted) == f"python (pid {pid})"


def test_a_mapped_address_is_the_ipv4_address(host: Namespace) -> None:  # noqa: ARG001
    mapped = "::ffff:192.0.2.10"
    with holding(socket.AF_INET6, socket.SOCK_STREAM, mapped, 8080, listen=True) as pid:
        assert holder(at("192.0.2.10:8080")) == f"python (pid {pid})"
        assert holder(at("127.0.0.1:8080")) == ""


def test_a_socket_of_ipv6_only_is_not_in_the_way_of_ipv4(sockets: LinuxHostSockets) -> None:
    sockets.reserve(at("[::]:8080"))
    assert holder(at("[::1]:8080")).endswith(f"(pid {os.getpid()})")
    assert holder(at("192.0.2.10:8080")) == ""


def test_of_processes_that_share_a_socket_the_first_is_named_and_the_others_counted(
    host: Namespace,  # noqa: ARG001
) -> None:
    with socket.create_server(("192.0.2.10", 8080)) as ours:
        fds = (ours.fileno(),)
        with program(INHERIT, pass_fds=fds) as one, program(INHERIT, pass_fds=fds) as other:
            first = min(os.getpid(), one, other)
            name = Path(f"/proc/{first}/comm").read_text(encoding="utf-8").strip()
            assert holder(at("0.0.0.0:8080")) == f"{name} (pid {first}) and 2 more"


def test_the_process_that_listens_is_named_and_none_that_has_its_connections(
    host: Namespace,  # noqa: ARG001
) -> None:
    """Also where there are many: a web server's workers have thousands of them on its port."""
    with ExitStack() as ours:
        with socket.create_server(("192.0.2.10", 8080)) as server:
            for _ in range(40):
                ours.enter_context(socket.create_connection(("192.0.2.10", 8080), timeout=10))
                ours.enter_context(server.accept()[0])
            listening = ours.enter_context(program(INHERIT, pass_fds=(server.fileno(),)))
        assert holder(at("192.0.2.10:8080")).endswith(f"(pid {listening})")


def test_a_relay_is_named_as_such(host: Namespace, tmp_path: Path) -> None:  # noqa: ARG001
    """One that nobody knows any more is else a python3 like any other."""
    command = [sys.executable, "-m", RELAY_MODULE]
    with (
        listening_at(tmp_path / "relay.sock", 0o600) as control,
        socket.create_server(("192.0.2.10", 8080)) as server,
        subprocess.Popen(command, stdin=control.fileno(), pass_fds=[server.fileno()]) as relay,
        RelayClient(tmp_path / "relay.sock") as client,
    ):
        assert client.hello().pid == relay.pid
        server.close()
        assert holder(at("0.0.0.0:8080")) == f"{RELAY_MODULE} (pid {relay.pid})"
        client.stop()


def test_a_process_can_not_write_into_the_message_by_its_name(host: Namespace) -> None:  # noqa: ARG001
    with holding(
        socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", 8080, listen=True, name="a\n\x1b[31mb"
    ) as pid:
        assert holder(at("0.0.0.0:8080")) == f"a??[31mb (pid {pid})"


def test_a_holder_can_be_named_where_an_event_loop_runs(host: Namespace) -> None:  # noqa: ARG001
    async def ask() -> str:
        return holder(at("0.0.0.0:8080"))

    with holding(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", 8080, listen=True) as pid:
        assert asyncio.run(ask()) == f"python (pid {pid})"


def test_nobody_is_named_for_a_connection_that_no_process_has_any_more(
    host: Namespace,  # noqa: ARG001
) -> None:
    with socket.create_server(("192.0.2.10", 8080)) as server:
        client = socket.create_connection(("192.0.2.10", 8080), timeout=10)
        server.accept()[0].close()
        assert client.recv(1) == b""
        client.close()
    assert holder(at("192.0.2.10:8080")) == ""


def test_nobody_is_named_who_holds_another_address_or_protocol(host: Namespace) -> None:  # noqa: ARG001
    with holding(socket.AF_INET, socket.SOCK_STREAM, "192.0.2.10", 8080, listen=True):
        assert holder(at("127.0.0.1:8080")) == ""
        assert holder(at("192.0.2.10:8081")) == ""
        assert holder(at("192.0.2.10:8080", Protocol.UDP)) == ""
        assert holder(at("[::]:8080")) == ""


def test_an_engine_on_real_sockets_names_the_holder(sockets: LinuxHostSockets) -> None:
    engine = Engine(Edges(LinuxHostFacts(), sockets, FakeFirewall()))
    with holding(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", 8080, listen=True) as pid:
        with pytest.raises(HostPortInUse) as caught:
            engine.publish(PublishRequest(WEB, parse_spec("8080:80")))
        assert "0.0.0.0:8080/tcp is held by python" in str(caught.value)
        assert f"(pid {pid}); publish another port or stop it" in str(caught.value)
        (binding,) = engine.publish(PublishRequest(WEB, parse_spec("8080-8081:80"))).bindings
    assert str(binding) == "0.0.0.0:8081:172.19.0.2:80/tcp"
    assert [str(held.address) for held in sockets.dump()] == ["0.0.0.0:8081/tcp"]
    engine.unpublish([binding])


def test_a_whole_dynamic_range_is_published_in_one_call(
    sockets: LinuxHostSockets, host: Namespace
) -> None:
    host.sysctl("net.ipv4.ip_local_port_range", "20000 20199")
    engine = Engine(Edges(LinuxHostFacts(), sockets, FakeFirewall()))
    bindings = engine.publish(PublishRequest(WEB, parse_spec("1-200"))).bindings
    assert {each.host_port for each in bindings} == set(range(20000, 20200))
    engine.unpublish(bindings)
    assert sockets.dump() == []


#: Takes a port as nobody, who may not read all of Python any more; prints the refusal.
AS_NOBODY = """
import encodings.ascii, os, sys
from ipaddress import ip_address
from hostports.errors import NotPermitted
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import Protocol, SocketAddress
os.setgid(65534)
os.setuid(65534)
wanted = SocketAddress(Protocol(sys.argv[1]), ip_address("192.0.2.10"), int(sys.argv[2]))
try:
    sockets = LinuxHostSockets()
    sockets.reserve(wanted)
    sockets.listen(wanted, relayed=True)
    print("listening:", sockets.dump()[0].listening)
except NotPermitted as error:
    print(error)
"""


def as_nobody(*arguments: str) -> str:
    command = [sys.executable, "-c", AS_NOBODY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_privileged_port_without_the_right_is_refused_with_a_hint(host: Namespace) -> None:
    host.sysctl("net.ipv4.ip_unprivileged_port_start", "1024")
    assert as_nobody("tcp", "80") == (
        "192.0.2.10:80/tcp can't be bound: Permission denied; "
        "run as root or with CAP_NET_BIND_SERVICE, or publish a port from 1024 on"
    )


def test_other_ports_need_no_right(host: Namespace) -> None:  # noqa: ARG001
    assert as_nobody("tcp", "8080") == "listening: True"
    assert as_nobody("udp", "8080") == "listening: False"

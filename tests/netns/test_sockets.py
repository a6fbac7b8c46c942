"""What only real sockets in a real kernel can show."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from hostports import BridgeNetwork, Edges, Endpoint, Engine, PublishRequest, parse_spec
from hostports.errors import AddressNotOnHost, HostPortInUse
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.holders import holder
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import Protocol, SocketAddress
from hostports.testing import FakeFirewall
from tests.netns.namespaces import Namespace, namespace

ADDRESSES = ["127.0.0.1/8", "192.0.2.10/24", "::1/128", "fd00:10::2/64"]
WEB = Endpoint("web", BridgeNetwork("lab"), ip_address("172.19.0.2"))  # type: ignore[arg-type]

#: A process that takes a port and waits: family, type, address, port, whether to listen.
HOLD = """
import socket, sys, time
family, kind, ip, port, listen = sys.argv[1:]
held = socket.socket(int(family), int(kind))
held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
if int(family) == socket.AF_INET6:
    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
held.bind((ip, int(port)))
if listen == "listen":
    held.listen()
print("holding", flush=True)
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
def holding(family: int, kind: int, ip: str, port: int, *, listen: bool) -> Iterator[int]:
    """A process that holds a port; gives its pid."""
    arguments = [str(int(family)), str(int(kind)), ip, str(port), "listen" if listen else "hold"]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"holding\n"
        yield process.pid
        process.stdin.close()


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


def test_a_syn_that_meets_the_filter_is_sent_again(sockets: LinuxHostSockets) -> None:
    """Between listen and the end of the filter nothing is refused, only dropped."""
    address = at("192.0.2.10:8080")
    sockets.reserve(address)
    with socket.socket(fileno=os.dup(sockets.fileno(address))) as ours:
        ours.listen()
        with socket.socket() as client:
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.connect(("192.0.2.10", 8080))
        with socket.socket() as client:
            client.settimeout(0)
            with pytest.raises(BlockingIOError):
                client.connect(("192.0.2.10", 8080))
            sockets.listen(address, relayed=True)
            ours.settimeout(30)
            with closing(ours.accept()[0]):
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


def test_a_refused_socket_leaves_no_descriptor(sockets: LinuxHostSockets) -> None:
    before = descriptors()
    with pytest.raises(AddressNotOnHost):
        sockets.reserve(at("203.0.113.9:8080"))
    assert descriptors() == before


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
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        assert holder(wanted) == f"{name} (pid {pid})"


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


#: Publishes a privileged port as nobody; prints the refusal.
AS_NOBODY = """
import os, sys
from ipaddress import ip_address
from hostports.errors import NotPermitted
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import Protocol, SocketAddress
os.setgid(65534)
os.setuid(65534)
try:
    LinuxHostSockets().reserve(SocketAddress(Protocol.TCP, ip_address("192.0.2.10"), 80))
except NotPermitted as error:
    print(error)
"""


def test_a_privileged_port_without_the_right_is_refused_with_a_hint(host: Namespace) -> None:
    host.sysctl("net.ipv4.ip_unprivileged_port_start", "1024")
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], capture_output=True, text=True, check=True
    )
    # Some kernels refuse the socket filter first, and call it "Operation not permitted".
    refusal, _, hint = done.stdout.partition("; ")
    assert refusal.startswith("192.0.2.10:80/tcp can't be bound: ")
    assert hint == (
        "run as root or with CAP_NET_BIND_SERVICE, "
        "or publish a port from net.ipv4.ip_unprivileged_port_start on\n"
    )

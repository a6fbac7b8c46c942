"""What connection tracking forgets, and what it must not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest
from pyroute2 import IPRoute

from hostports import Protocol
from hostports.linux.conntrack import LinuxConntrack
from hostports.model.flow import Flow
from hostports.model.port import SocketAddress
from tests.netns.flows import Flowing, remember, tracked
from tests.netns.namespaces import Namespace, namespace, nft

HOST, CLIENT = "10.9.0.1", "10.9.0.2"


@pytest.fixture(params=["subnet", "point-to-point"])
def host(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A host that tracks connections, and a client behind a cable."""
    with ExitStack() as stack:
        host, client = (stack.enter_context(namespace()) for _ in range(2))
        with host.entered(), IPRoute() as links:
            links.link(
                "add", ifname="up", kind="veth", peer={"ifname": "up", "net_ns_fd": client.name}
            )
            nft("add table inet t")
            nft("add chain inet t c { type filter hook input priority 0; }")
            nft("add rule inet t c ct state new counter")
        for where, own, other in ((host, HOST, CLIENT), (client, CLIENT, HOST)):
            with where.entered(), IPRoute() as links:
                (index,) = links.link_lookup(ifname="up")
                links.link("set", index=index, state="up")
                if request.param == "subnet":
                    links.addr("add", index=index, address=own, prefixlen=24)
                else:
                    links.addr("add", index=index, local=own, address=other, prefixlen=32)
        with client.entered():
            asks = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            answers = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            answers.bind((CLIENT, 5353))
        with host.entered():
            itself = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            asked = [
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in range(2)
            ]
        for hears, port in zip(asked, (5353, 5354), strict=True):
            hears.bind((HOST, port))
            asks.sendto(b"in", (HOST, port))
        itself.sendto(b"out", (CLIENT, 5353))
        for hears in (*asked, answers):  # only what has arrived is tracked
            hears.settimeout(30)
            hears.recv(8)
        with host.entered():
            yield host


def to(ip: str, port: int, protocol: Protocol = Protocol.UDP) -> SocketAddress:
    return SocketAddress(protocol, ip_address(ip), port)


@pytest.mark.usefixtures("host")
def test_a_wildcard_means_every_address_of_the_host_and_no_other_hosts() -> None:
    """Published port 53 must not disturb what the host itself asks of a name server."""
    conntrack = LinuxConntrack()
    assert conntrack.forget([to("0.0.0.0", 5353)]) == 1
    assert conntrack.forget([to("0.0.0.0", 5353)]) == 0
    assert conntrack.forget([to(CLIENT, 5353)]) == 1
    assert conntrack.forget([to(HOST, 5354)]) == 1


@pytest.mark.usefixtures("host")
def test_many_ports_are_forgotten_at_once() -> None:
    assert LinuxConntrack().forget([to("0.0.0.0", port) for port in range(5300, 5400)]) == 2


@pytest.mark.usefixtures("host")
def test_other_ports_protocols_and_families_stay() -> None:
    others = [to("0.0.0.0", 5355), to("0.0.0.0", 5353, Protocol.TCP), to("::", 5353)]
    assert LinuxConntrack().forget(others) == 0
    assert LinuxConntrack().forget([]) == 0


@pytest.mark.usefixtures("host")
def test_flows_are_forgotten_by_what_they_are() -> None:
    seen: list[Flow] = []

    def unwanted(flow: Flow) -> bool:
        seen.append(flow)
        return flow.port == 5353 and flow.to_host

    assert LinuxConntrack().forget_if(unwanted) == 1
    ends = {(str(each.source), str(each.destination), each.port) for each in seen}
    assert {(CLIENT, HOST, 5353), (CLIENT, HOST, 5354), (HOST, CLIENT, 5353)} <= ends
    assert {each.protocol for each in seen if each.port} == {Protocol.UDP.number}
    for each in seen:
        if each.port:
            assert (each.from_host, each.to_host) == (
                str(each.source) == HOST,
                str(each.destination) == HOST,
            )
            assert (each.answered_by, each.answered_to) == (each.destination, each.source)
    assert LinuxConntrack().forget_if(unwanted) == 0
    assert LinuxConntrack().forget_if(lambda flow: flow.port == 5354) == 1


@pytest.fixture
def remembering() -> Iterator[Namespace]:
    """A host on which flows of both families are tracked, of which some are led to containers."""
    with namespace(["10.9.0.1/24", "fd09::1/64"]) as host, host.entered():
        remember(
            [
                Flowing("10.9.0.2", 1111, "10.9.0.1", 53, "10.88.0.2", 5353),
                Flowing("10.9.0.2", 1111, "10.9.0.7", 53),
                Flowing("10.88.0.2", 2222, "10.9.0.7", 80, protocol=socket.IPPROTO_TCP),
                Flowing("fd09::2", 1111, "fd09::1", 53, "fd88::2", 5353),
            ]
        )
        yield host


def all_flows() -> list[Flow]:
    shown: list[Flow] = []

    def unwanted(flow: Flow) -> bool:
        shown.append(flow)
        return False

    assert LinuxConntrack().forget_if(unwanted) == 0
    return shown


@pytest.mark.usefixtures("remembering")
def test_flows_are_shown_as_they_are() -> None:
    shown = all_flows()
    ipv4, ipv6 = (each for each in shown if each.to_host)
    client, host, container = map(ip_address, ("10.9.0.2", "10.9.0.1", "10.88.0.2"))
    assert ipv4 == Flow(
        *(17, client, host, 53, container, client),
        to_host=True,
        source_port=1111,
        answering_port=5353,
    )
    assert str(ipv6.answered_by) == "fd88::2"
    assert len(shown) == 4


@pytest.mark.usefixtures("remembering")
def test_what_is_unwanted_is_forgotten_and_nothing_else() -> None:
    unwanted = LinuxConntrack().forget_if(lambda flow: flow.answering_port == 5353)
    assert unwanted == 2
    assert tracked() == [("10.9.0.7", 53), ("10.9.0.7", 80)]


@pytest.mark.usefixtures("remembering")
def test_only_flows_that_name_an_address_are_looked_at() -> None:
    """From it, to it, or answered by it."""
    container = ip_address("10.88.0.2")
    assert LinuxConntrack().forget_if(lambda _: True, [container]) == 2
    assert tracked() == [("10.9.0.7", 53), ("fd09::1", 53)]


def test_many_flows_are_forgotten_by_few_messages() -> None:
    """Answers that don't fit into the kernel's buffer would be lost."""
    with namespace(["10.9.0.1/24"]) as host, host.entered():
        remember(Flowing("10.9.0.2", 1 + each, "10.9.0.1", 5353) for each in range(1000))
        assert LinuxConntrack().forget([to("0.0.0.0", 5353)]) == 1000
        assert tracked() == []


def test_a_flow_without_ports_has_none() -> None:
    """Somebody pings the host."""
    with namespace() as host, host.entered():
        nft("add table inet t")
        nft("add chain inet t c { type filter hook input priority 0; }")
        nft("add rule inet t c ct state new counter")
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinging:
            pinging.sendto(bytes.fromhex("0800f7fd00020000"), ("127.0.0.1", 0))
        shown = all_flows()
    assert [(each.protocol, each.port, each.source_port) for each in shown] == [(1, 0, 0)]

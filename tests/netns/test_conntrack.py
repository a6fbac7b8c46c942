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
        for port in (5353, 5354):
            asks.sendto(b"in", (HOST, port))
        itself.sendto(b"out", (CLIENT, 5353))
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

"""A host with networks, containers and neighbours, each a network namespace of its own.

Sockets made in a namespace stay there, so one process can be all of them: a selector thread answers
for every server, and probes run side by side.
"""

import errno
import selectors
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from threading import Thread
from types import MappingProxyType
from typing import Any

from pyroute2 import IPRoute

from hostports import BridgeNetwork, Endpoint, GatewayMode
from tests.netns.namespaces import Namespace, namespace

HOST_IPV4, SECOND_IPV4 = "10.9.0.1", "10.9.0.11"
HOST_IPV6, SECOND_IPV6 = "fd09::1", "fd09::11"


def network(name: str, number: int, **settings: Any) -> BridgeNetwork:  # noqa: ANN401 - any field
    """A network with bridge ``br<name>``, subnets 172.<number>.0.0/24 and fd<number>::/64."""
    return BridgeNetwork(
        name,
        bridge=f"br{name}",
        subnet_ipv4=IPv4Network(f"172.{number}.0.0/24"),
        subnet_ipv6=IPv6Network(f"fd{number}::/64"),
        **settings,
    )


SNAT: dict[str, Any] = {
    "host_ipv4": IPv4Address(SECOND_IPV4),
    "host_ipv6": IPv6Address(SECOND_IPV6),
}
UNPROTECTED = dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), GatewayMode.NAT_UNPROTECTED)
ROUTED = dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), GatewayMode.ROUTED)
NETWORKS = {
    each.name: each
    for each in (
        network("A", 30, trusted_host_interfaces=("trust+",)),
        network("B", 31, trusted_host_interfaces=("trust0",), **SNAT),
        network("I", 32, internal=True),
        network("R", 33, **ROUTED),
        network("U", 34, **UNPROTECTED),
        network("N", 35, trusted_host_interfaces=("trust0",), icc=False),
        network("Q", 37, icc=False, **ROUTED),
        network("J", 38, icc=False, internal=True),
        network("M", 36, trusted_host_interfaces=("trust0",), masquerade=False),
    )
}
#: Containers: their network, and the last part of their addresses.
CONTAINERS = {
    "a1": ("A", 2),
    "a2": ("A", 3),
    "b1": ("B", 2),
    "b2": ("B", 3),
    "i1": ("I", 2),
    "i2": ("I", 3),
    "r1": ("R", 2),
    "r2": ("R", 3),
    "u1": ("U", 2),
    "u2": ("U", 3),
    "n1": ("N", 2),
    "n2": ("N", 3),
    "n3": ("N", 4),
    "q1": ("Q", 2),
    "q2": ("Q", 3),
    "j1": ("J", 2),
    "j2": ("J", 3),
    "m1": ("M", 2),
    "m2": ("M", 3),
}
#: Neighbours: their interface on the host, and the first parts of their addresses.
NEIGHBOURS = {"client": ("uplink0", "10.9.0", "fd09::"), "trusted": ("trust0", "10.8.0", "fd08::")}


def endpoint(name: str) -> Endpoint:
    """A container as the firewall knows it."""
    net, last = CONTAINERS[name]
    ipv4, ipv6 = NETWORKS[net].subnet_ipv4, NETWORKS[net].subnet_ipv6
    assert ipv4
    assert ipv6
    return Endpoint(name, NETWORKS[net], ipv4[last], ipv6[last])


#: What connect(2) takes; for IPv6 with flow and scope.
Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


@dataclass(frozen=True)
class Probe:
    """A client: where it is, whom it asks, and from which source address."""

    where: str
    ip: str
    port: int
    protocol: str = "tcp"
    source: str = ""


@dataclass
class Lab:
    """The namespaces by name, and who answers in them."""

    namespaces: Mapping[str, Namespace] = field(default_factory=lambda: MappingProxyType({}))
    servers: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self, where: str, tag: str, ports: Sequence[int], protocol: str = "tcp") -> None:
        """Answer with a tag and the client's address, as ``a1 10.9.0.2``, in both families."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        for family, any_ip in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for port in ports:
                with self.namespaces[where].entered():
                    server = socket.socket(family, kind)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind((any_ip, port))
                if kind == socket.SOCK_STREAM:
                    server.listen(100)
                self.servers.register(server, selectors.EVENT_READ, tag)

    def ask(self, probes: Sequence[Probe], seconds: float) -> list[str]:
        """What each probe is answered: a tag and address, ``refused`` or ``nothing``."""
        clients = [self._client(probe) for probe in probes]
        with ThreadPoolExecutor(max_workers=len(probes)) as pool:
            return list(pool.map(_answer, probes, clients, [seconds] * len(probes)))

    def _client(self, probe: Probe) -> tuple[socket.socket, Address]:
        """A probe's socket, and the address that it asks, as its namespace knows it."""
        kind = socket.SOCK_STREAM if probe.protocol == "tcp" else socket.SOCK_DGRAM
        with self.namespaces[probe.where].entered():
            family, *_, address = socket.getaddrinfo(probe.ip, probe.port)[0]
            return socket.socket(family, kind), address

    def mac(self, where: str, interface: str) -> bytes:
        """An interface's hardware address."""
        with self.namespaces[where].entered(), IPRoute() as links:
            (link,) = links.get_links(ifname=interface)
            return bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))

    def link_local(self, where: str, interface: str) -> str:
        """An interface's link-local address."""
        with self.namespaces[where].entered(), IPRoute() as links:
            (index,) = links.link_lookup(ifname=interface)
            (found,) = links.get_addr(index=index, family=socket.AF_INET6, scope=253)
            return str(found.get_attr("IFA_ADDRESS"))


def _answer(probe: Probe, made: tuple[socket.socket, Address], seconds: float) -> str:
    client, address = made
    with client:
        client.settimeout(seconds)
        try:
            if probe.source:
                client.bind((probe.source, 0))
            client.connect(address)
            if probe.protocol == "udp":
                client.send(b"who?")
            return client.recv(100).decode() or "end"
        except TimeoutError:
            return "nothing"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            # Neighbour discovery met silence as well: after three solicitations the kernel says so.
            silent = error.errno == errno.EHOSTUNREACH
            return "nothing" if silent else errno.errorcode[error.errno or 0]


def _serve_forever(servers: selectors.BaseSelector, end: socket.socket) -> None:
    while True:
        for key, _ in servers.select():
            server = key.fileobj
            assert isinstance(server, socket.socket)
            if server is end:
                return
            if server.type == socket.SOCK_DGRAM:
                _, peer = server.recvfrom(100)
                server.sendto(f"{key.data} {peer[0]}".encode(), peer)
            else:
                connection, peer = server.accept()
                with connection:
                    connection.sendall(f"{key.data} {peer[0].partition('%')[0]}".encode())


@contextmanager
def lab(*, forwarding: bool = True, hairpin: bool = False) -> Iterator[Lab]:
    """All namespaces, wired and addressed.

    Without `forwarding` the host is no router yet. With `hairpin` a port of a bridge may send back
    what came in by it, which br_netfilter needs for a container's own published port.
    """
    with ExitStack() as stack:
        names = ["host", *NEIGHBOURS, *CONTAINERS]
        made = Lab({name: stack.enter_context(namespace()) for name in names})
        for each in made.namespaces.values():
            # Addresses can be used at once: nobody else can have them.
            each.sysctl("net.ipv6.conf.default.accept_dad", "0")
            each.sysctl("net.ipv6.conf.all.accept_dad", "0")
        _wire(made, hairpin=hairpin)
        if forwarding:
            made.namespaces["host"].sysctl("net.ipv4.ip_forward", "1")
            made.namespaces["host"].sysctl("net.ipv6.conf.all.forwarding", "1")
        stack.enter_context(answering(made))
        yield made


@contextmanager
def answering(made: Lab) -> Iterator[None]:
    """Let the lab's servers answer until the end of the block, and close them."""
    end, told = socket.socketpair()
    made.servers.register(end, selectors.EVENT_READ)
    thread = Thread(target=_serve_forever, args=(made.servers, end))
    thread.start()
    try:
        yield
    finally:
        told.close()
        thread.join()
        for key in list(made.servers.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        made.servers.close()


def _wire(made: Lab, *, hairpin: bool) -> None:
    host = made.namespaces["host"]
    with host.entered(), IPRoute() as links:
        for each in NETWORKS.values():
            assert each.subnet_ipv4
            assert each.subnet_ipv6
            links.link("add", ifname=each.bridge, kind="bridge")
            addresses = [f"{each.subnet_ipv4[1]}/24", f"{each.subnet_ipv6[1]}/64"]
            up(links, each.bridge, addresses)
    for name, (net, last) in CONTAINERS.items():
        bridge = NETWORKS[net]
        assert bridge.subnet_ipv4
        assert bridge.subnet_ipv6
        join(made, name, f"v{name}", bridge.bridge)
        with host.entered(), IPRoute() as links:
            (index,) = links.link_lookup(ifname=f"v{name}")
            links.brport("set", index=index, mode=int(hairpin))
        own = [f"{bridge.subnet_ipv4[last]}/24", f"{bridge.subnet_ipv6[last]}/64"]
        configure(made.namespaces[name], own, [bridge.subnet_ipv4[1], bridge.subnet_ipv6[1]])
    for name, (interface, ipv4, ipv6) in NEIGHBOURS.items():
        join(made, name, interface)
        with host.entered(), IPRoute() as links:
            up(links, interface, [f"{ipv4}.1/24", f"{ipv6}1/64"])
        own = [f"{ipv4}.2/24", f"{ipv4}.3/24", f"{ipv6}2/64", f"{ipv6}3/64"]
        configure(made.namespaces[name], own, [f"{ipv4}.1", f"{ipv6}1"])
    with host.entered(), IPRoute() as links:
        up(links, "uplink0", [f"{SECOND_IPV4}/24", f"{SECOND_IPV6}/64"])


def join(made: Lab, name: str, interface: str, master: str = "") -> None:
    """Join a namespace's ``eth0`` to an interface of the host."""
    with made.namespaces["host"].entered(), IPRoute() as links:
        peer = {"ifname": "eth0", "net_ns_fd": made.namespaces[name].name}
        links.link("add", ifname=interface, kind="veth", peer=peer)
        (index,) = links.link_lookup(ifname=interface)
        if master:
            links.link("set", index=index, master=links.link_lookup(ifname=master)[0])
        links.link("set", index=index, state="up")


def configure(where: Namespace, addresses: Sequence[str], gateways: Sequence[object]) -> None:
    """Set ``eth0`` up, with addresses and default routes."""
    with where.entered(), IPRoute() as links:
        up(links, "eth0", addresses)
        for gateway in gateways:
            links.route("add", dst="default", gateway=str(gateway))


def up(links: IPRoute, interface: str, addresses: Sequence[str]) -> None:
    """Set an interface up, with addresses."""
    (index,) = links.link_lookup(ifname=interface)
    links.link("set", index=index, state="up")
    for address in addresses:
        ip, _, length = address.partition("/")
        links.addr("add", index=index, address=ip, prefixlen=int(length))

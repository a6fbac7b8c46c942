"""A client, a host and a container in a row.

Sockets made in a namespace stay there, so the tests are both client and container themselves, and
only the relay, which runs in the host's namespace, is a process of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from pyroute2 import IPRoute

from tests.netns.namespaces import IFA_F_NODAD, RTN_LOCAL, Namespace, namespace
from tests.relay.waiting import eventually

HOST_IPV4, SECOND_HOST_IPV4 = "192.0.2.1", "192.0.2.11"
HOST_IPV6, SECOND_HOST_IPV6 = "fd00:c::1", "fd00:c::11"
HOST_LINK_LOCAL, CLIENT_LINK_LOCAL = "fe80::c:1", "fe80::c:2"
CLIENT_IPV4, SECOND_CLIENT_IPV4 = "192.0.2.2", "192.0.2.22"
CLIENT_IPV6, SECOND_CLIENT_IPV6 = "fd00:c::2", "fd00:c::22"
CONTAINER_IPV4, CONTAINER_IPV6 = "172.20.0.2", "fd00:d::2"
#: The container's side of the host: what the container sees of clients that the relay serves.
BRIDGE_IPV4, BRIDGE_IPV6 = "172.20.0.1", "fd00:d::1"

#: Unless a socket is bound, the first IPv4 address is its own, and the last IPv6 one.
UPLINK = {
    "client": [
        f"{CLIENT_IPV4}/24",
        f"{SECOND_CLIENT_IPV4}/24",
        f"{SECOND_CLIENT_IPV6}/64",
        f"{CLIENT_IPV6}/64",
        f"{CLIENT_LINK_LOCAL}/64",
    ],
    "host": [
        f"{HOST_IPV4}/24",
        f"{SECOND_HOST_IPV4}/24",
        f"{SECOND_HOST_IPV6}/64",
        f"{HOST_IPV6}/64",
        f"{HOST_LINK_LOCAL}/64",
    ],
}
DOWNLINK = {
    "host": [f"{BRIDGE_IPV4}/24", f"{BRIDGE_IPV6}/64"],
    "container": [f"{CONTAINER_IPV4}/24", f"{CONTAINER_IPV6}/64"],
}


@dataclass(frozen=True)
class Lab:
    """The namespaces; client and container each have ``eth0``, the host ``uplink`` and ``br0``."""

    client: Namespace
    host: Namespace
    container: Namespace

    def set_link(self, where: Namespace, interface: str, **settings: object) -> None:
        """Set a link's ``state`` or ``mtu``."""
        with where.entered(), IPRoute() as links:
            links.link("set", index=links.link_lookup(ifname=interface)[0], **settings)


@contextmanager
def lab() -> Iterator[Lab]:
    """The namespaces, wired and addressed; the host is no router, so only a relay gets through."""
    with ExitStack() as stack:
        made = Lab(*(stack.enter_context(namespace()) for _ in range(3)))
        for each in (made.client, made.host, made.container):
            # Tests open tens of thousands of connections; published ports stay below the range.
            each.sysctl("net.ipv4.ip_local_port_range", "10000 65000")
        _join(made.host, "uplink", made.client)
        _join(made.host, "br0", made.container)
        _add_addresses(made.client, "eth0", UPLINK["client"])
        _add_addresses(made.host, "uplink", UPLINK["host"])
        _add_addresses(made.host, "br0", DOWNLINK["host"])
        _add_addresses(made.container, "eth0", DOWNLINK["container"])
        yield made


def _join(host: Namespace, interface: str, other: Namespace) -> None:
    """Join an interface of the host to another namespace's ``eth0``."""
    with host.entered(), IPRoute() as links:
        peer = {"ifname": "eth0", "net_ns_fd": other.name}
        links.link("add", ifname=interface, kind="veth", peer=peer)
        links.link("set", index=links.link_lookup(ifname=interface)[0], state="up")
    with other.entered(), IPRoute() as links:
        links.link("set", index=links.link_lookup(ifname="eth0")[0], state="up")


def _add_addresses(where: Namespace, interface: str, addresses: Sequence[str]) -> None:
    """Give an interface addresses that can be bound and reached at once."""
    with where.entered(), IPRoute() as links:
        (index,) = links.link_lookup(ifname=interface)
        for address in addresses:
            ip, _, length = address.partition("/")
            where_to = {"index": index, "address": ip, "prefixlen": int(length)}
            links.addr("add", **where_to, IFA_FLAGS=IFA_F_NODAD)
            # An IPv6 address has its local route a little later: a work queue of Linux adds it.
            eventually(partial(_is_local, links, ip, index), f"a local route to {ip}")


def _is_local(links: IPRoute, ip: str, index: int) -> bool:
    (route,) = links.route("get", dst=ip, oif=index)
    return bool(route["type"] == RTN_LOCAL)

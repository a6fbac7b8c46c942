"""What only the kernel can show of bridges and cables: packets, routes, settings, what is left."""

import asyncio
import ctypes
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import pytest
from pyroute2 import IPRoute

from hostports import BridgeNetwork, Endpoint, GatewayMode
from hostports.errors import LinkFailed, NotPermitted, UnusableValue
from hostports.linux.link_watch import LinkWatch
from hostports.linux.links import LinuxLinks
from hostports.linux.namespaces import namespace_of, namespace_path, with_netlink
from hostports.linux.netlink import wait_until_reached, wait_until_sending
from tests.netns.namespaces import IFA_F_NODAD, Namespace, namespace

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 20
PORT = 8080
#: linux/if_addr.h
IFA_F_TENTATIVE = 0x40
#: How often what depends on Linux's work queues is tried.
OFTEN = 20

NETWORK = BridgeNetwork(
    "lab",
    bridge="hp-lab",
    subnet_ipv4=IPv4Network("172.30.0.0/24"),
    subnet_ipv6=IPv6Network("fd30::/64"),
)
INTERNAL = replace(NETWORK, internal=True)
NO_IPV6 = replace(NETWORK, subnet_ipv6=None)
NO_IPV4 = replace(NETWORK, subnet_ipv4=None)
ISOLATED = replace(
    INTERNAL, gateway_mode_ipv4=GatewayMode.ISOLATED, gateway_mode_ipv6=GatewayMode.ISOLATED
)
GATEWAYS = ["172.30.0.1", "fd30::1"]


class Lab:
    """A host with links, and namespaces for endpoints; calls are made in the host's namespace."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.host = stack.enter_context(namespace())
        self.links = LinuxLinks()

    def begin(self) -> Namespace:
        return self._stack.enter_context(empty_namespace())

    def add_bridge(self, network: BridgeNetwork = NETWORK) -> None:
        with self.host.entered():
            self.links.add_bridge(network)

    def attach(self, endpoint: Endpoint) -> None:
        with self.host.entered():
            self.links.attach(endpoint)

    def detach(self, endpoint: Endpoint) -> None:
        with self.host.entered():
            self.links.detach(endpoint)

    def attached(self, endpoint: Endpoint) -> bool:
        with self.host.entered():
            return self.links.attached(endpoint)


@contextmanager
def empty_namespace() -> Iterator[Namespace]:
    """One whose loopback is down, as a namespace begins."""
    with namespace() as made:
        with made.entered(), IPRoute() as links:
            links.link("set", index=1, state="down")
        yield made


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack)


def endpoint(where: Namespace, network: BridgeNetwork = NETWORK, last: int = 2) -> Endpoint:
    return Endpoint(
        f"e{last}",
        network,
        IPv4Address(f"172.30.0.{last}") if network.subnet_ipv4 else None,
        IPv6Address(f"fd30::{last}") if network.subnet_ipv6 else None,
        f"/run/netns/{where.name}",
    )


def link(where: Namespace, name: str) -> Any:  # noqa: ANN401 - pyroute2 has no types
    with where.entered(), IPRoute() as links:
        (found,) = links.link("get", ifname=name)
        return found


def interfaces(where: Namespace) -> list[tuple[str, int]]:
    """The names of all interfaces, and whether they are up."""
    with where.entered(), IPRoute() as links:
        return [(each.get_attr("IFLA_IFNAME"), each["flags"] & 1) for each in links.get_links()]


def addresses(where: Namespace, name: str) -> set[str]:
    with where.entered(), IPRoute() as links:
        (index,) = links.link_lookup(ifname=name)
        return {
            f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
            for each in links.get_addr(index=index)
        }


def default_routes(where: Namespace) -> list[tuple[str, str]]:
    """The gateways, and the interfaces to them."""
    with where.entered(), IPRoute() as links:
        names = {each["index"]: each.get_attr("IFLA_IFNAME") for each in links.get_links()}
        return [
            (each.get_attr("RTA_GATEWAY"), names[each.get_attr("RTA_OIF")])
            for each in links.get_routes(table=254)
            if each["dst_len"] == 0
        ]


def setting(where: Namespace, interface: str, name: str) -> str:
    with where.entered():
        return Path("/proc/sys/net/ipv6/conf", interface, name).read_text(encoding="ascii").strip()


def ask(where: Namespace, server: Namespace, ip: str) -> str:
    """Connect to an address of a server, which binds it just now; who it was that asked."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with server.entered():
        listening = socket.socket(family)
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ip, PORT))
        listening.listen()
        with where.entered(), socket.create_connection((ip, PORT), PATIENCE_S):
            accepted, peer = listening.accept()
            accepted.close()
            return str(peer[0])


def test_packets_pass_at_once_in_both_families(lab: Lab) -> None:
    """Each time: between endpoint and gateway, both ways, and between endpoints."""
    one, two = lab.begin(), lab.begin()
    for _ in range(OFTEN):
        lab.add_bridge()
        for last, where in ((2, one), (3, two)):
            lab.attach(endpoint(where, last=last))
        for first in ("172.30.0.", "fd30::"):
            assert ask(one, lab.host, f"{first}1") == f"{first}2"
            assert ask(lab.host, one, f"{first}2") == f"{first}1"
            assert ask(one, two, f"{first}3") == f"{first}2"
        with lab.host.entered():
            for last, where in ((2, one), (3, two)):
                lab.links.detach(endpoint(where, last=last))
            lab.links.remove_bridge(NETWORK)


def test_every_interface_sends_when_an_endpoint_is_attached(lab: Lab) -> None:
    """One that doesn't yet drops what it is given, and a client waits a second to send again."""
    inside = lab.begin()
    for _ in range(OFTEN):
        lab.add_bridge()
        lab.attach(endpoint(inside))
        for where, name in ((lab.host, "hp-lab"), (lab.host, "hpv-e2"), (inside, "eth0")):
            assert link(where, name).get_attr("IFLA_OPERSTATE") == "UP"
        port = link(lab.host, "hpv-e2").get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
        assert port.get_attr("IFLA_BRPORT_STATE") == 3  # forwarding
        with lab.host.entered():
            lab.links.remove_bridge(NETWORK)
            lab.links.detach(endpoint(inside))


def test_a_bridge_can_be_reached_before_anything_is_attached(lab: Lab) -> None:
    """The relay may listen there; without ports the bridge has no carrier."""
    for _ in range(OFTEN):
        lab.add_bridge()
        for ip in GATEWAYS:
            assert ask(lab.host, lab.host, ip) == ip
        with lab.host.entered():
            lab.links.remove_bridge(NETWORK)


def test_nobody_is_asked_whether_addresses_are_free(lab: Lab) -> None:
    """They would be of no use for a second or two, also where the host insists on asking."""
    inside = lab.begin()
    for where in (lab.host, inside):
        where.sysctl("net.ipv6.conf.all.accept_dad", "1")
    lab.add_bridge()
    lab.attach(endpoint(inside))
    for where, name in ((lab.host, "hp-lab"), (inside, "eth0")):
        with where.entered(), IPRoute() as links:
            found = links.get_addr(index=links.link_lookup(ifname=name)[0], scope=0)
            flags = {each.get_attr("IFA_ADDRESS"): each.get_attr("IFA_FLAGS") for each in found}
        assert len(flags) == 2
        assert not any(each & IFA_F_TENTATIVE for each in flags.values())
        # And of link-local addresses, where it doesn't insist.
        assert setting(where, name, "accept_dad") == "0"


def test_what_is_not_there_yet_is_waited_for(lab: Lab) -> None:
    """Linux's work queues, which are too fast to be caught, done by hand."""
    address = ip_interface("fd30::1/64")
    add_interfaces(lab.host, "br0", "bridge")
    with lab.host.entered(), IPRoute() as links, ThreadPoolExecutor(2) as threads:
        links.link("add", ifname="port", kind="veth", peer="far", state="up")
        (bridge,), (far,) = links.link_lookup(ifname="br0"), links.link_lookup(ifname="far")
        reached = partial(wait_until_reached, name="br0", addresses=[address])
        sending = partial(wait_until_sending, name="port")
        waiting = [threads.submit(with_netlink, work) for work in (reached, sending)]
        sleep(0.1)
        assert not any(each.done() for each in waiting)
        links.link("set", index=far, state="up")
        links.addr("add", index=bridge, address="fd30::1", prefixlen=64, IFA_FLAGS=IFA_F_NODAD)
        for each in waiting:
            each.result(PATIENCE_S)


@pytest.mark.parametrize(
    ("network", "gateways"),
    [
        (NETWORK, GATEWAYS),
        (NO_IPV6, GATEWAYS[:1]),
        (NO_IPV4, GATEWAYS[1:]),
        (replace(NETWORK, gateway_mode_ipv6=GatewayMode.ISOLATED), GATEWAYS[:1]),
        (INTERNAL, []),
        (ISOLATED, []),
    ],
    ids=["both", "ipv4", "ipv6", "ipv6 isolated", "internal", "isolated"],
)
def test_default_routes_lead_to_the_gateways(
    lab: Lab, network: BridgeNetwork, gateways: list[str]
) -> None:
    inside = lab.begin()
    lab.add_bridge(network)
    lab.attach(endpoint(inside, network))
    assert default_routes(inside) == [(gateway, "eth0") for gateway in gateways]


@pytest.mark.parametrize("network", [INTERNAL, ISOLATED], ids=["internal", "isolated"])
def test_endpoints_of_an_internal_network_reach_each_other(
    lab: Lab, network: BridgeNetwork
) -> None:
    one, two = lab.begin(), lab.begin()
    lab.add_bridge(network)
    lab.attach(endpoint(one, network, 2))
    lab.attach(endpoint(two, network, 3))
    assert ask(one, two, "172.30.0.3") == "172.30.0.2"
    assert ask(one, two, "fd30::3") == "fd30::2"


def test_an_isolated_network_has_no_address_of_the_host(lab: Lab) -> None:
    """Not even a link-local one, by which its endpoints could ask the host."""
    lab.add_bridge(ISOLATED)
    lab.attach(endpoint(lab.begin(), ISOLATED))
    assert addresses(lab.host, "hp-lab") == set()


def test_inside_are_the_addresses_and_loopback(lab: Lab) -> None:
    inside = lab.begin()
    lab.add_bridge()
    lab.attach(endpoint(inside))
    assert interfaces(inside) == [("lo", 1), ("eth0", 1)]
    found = {each for each in addresses(inside, "eth0") if not each.startswith("fe80:")}
    assert found == {"172.30.0.2/24", "fd30::2/64"}
    assert ask(inside, inside, "127.0.0.1") == "127.0.0.1"
    assert ask(inside, inside, "::1") == "::1"


def test_where_there_is_no_ipv6_it_is_off(lab: Lab) -> None:
    inside = lab.begin()
    lab.add_bridge(NO_IPV6)
    lab.attach(endpoint(inside, NO_IPV6))
    assert setting(lab.host, "hp-lab", "disable_ipv6") == "1"
    assert setting(inside, "eth0", "disable_ipv6") == "1"
    assert addresses(inside, "eth0") == {"172.30.0.2/24"}


def test_ipv6_is_switched_on_where_a_network_has_it(lab: Lab) -> None:
    """A host that has it off for new interfaces has it off there only by default."""
    inside = lab.begin()
    for where in (lab.host, inside):
        where.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    lab.add_bridge()
    lab.attach(endpoint(inside))
    assert ask(inside, lab.host, "fd30::1") == "fd30::2"


def test_the_host_takes_no_routes_from_endpoints(lab: Lab) -> None:
    """An endpoint's router advertisement could lead the host's traffic to it (CVE-2020-13401)."""
    lab.add_bridge()
    assert setting(lab.host, "hp-lab", "accept_ra") == "0"


@pytest.mark.parametrize("hairpin", [True, False], ids=["hairpin", "no hairpin"])
def test_a_port_sends_back_by_itself_with_hairpin_only(lab: Lab, hairpin: bool) -> None:  # noqa: FBT001
    lab.links = LinuxLinks(hairpin=hairpin)
    lab.add_bridge()
    lab.attach(endpoint(lab.begin()))
    assert sends_back(lab) == hairpin


@pytest.mark.parametrize("hairpin", [True, False], ids=["hairpin", "no hairpin"])
def test_a_cable_of_before_sends_back_as_it_is_to_do_now(lab: Lab, hairpin: bool) -> None:  # noqa: FBT001
    """The daemon before had a relay, and this one has none, or the other way round."""
    lab.links = LinuxLinks(hairpin=not hairpin)
    lab.add_bridge()
    made = endpoint(lab.begin())
    lab.attach(made)
    before = link(lab.host, "hpv-e2")["index"]
    lab.links = LinuxLinks(hairpin=hairpin)
    with lab.host.entered():
        assert not lab.links.attached(made)
        assert lab.links.plug_in(made)
        assert lab.links.attached(made)
    assert sends_back(lab) == hairpin
    assert link(lab.host, "hpv-e2")["index"] == before


def sends_back(lab: Lab) -> bool:
    port = link(lab.host, "hpv-e2").get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
    return bool(port.get_attr("IFLA_BRPORT_MODE"))


def test_the_watch_tells_what_goes_is_set_down_or_loses_an_address_and_nothing_else(
    lab: Lab,
) -> None:
    with lab.host.entered():
        watch = LinkWatch()

        def told(*commands: str) -> set[str]:
            for each in commands:
                given(lab.host, f"ip {each}")
            return set(watch.read())

        new = [
            "link add a.b type veth peer name b",
            "link add br0 type bridge",
            "link set a.b master br0",
        ]
        up = ["link set a.b up", "link set br0 up"]
        addresses = ["address add 10.1.1.1/24 dev br0", "address add fd01::1/64 dev br0 nodad"]
        assert told(*new, *up, *addresses) == set()
        assert told("link set br0 mtu 1400", "link set a.b nomaster") == set()
        assert told("address del 10.1.1.1/24 dev br0") == {"br0"}
        assert told("address del fd01::1/64 dev br0") == {"br0"}
        assert told("link set br0 down") == {"br0"}
        assert told("link set br0 up", "link set br0 name br1") == set()
        assert told("link set a.b down") == {"a.b"}
        assert told("link del a.b") == {"a.b", "b"}
        assert told("link del br1") == {"br1"}
        watch.close()


#: What a container may do to what is its own, and how eth0 or its routes lose something.
LOSSES = {
    "down": "ip link set eth0 down",
    "down and up": "ip link set eth0 down; ip link set eth0 up",
    "an address": "ip address del 172.30.0.2/24 dev eth0",
    "all addresses": "ip address flush dev eth0",
    "default routes": "ip route del default; ip -6 route del default",
}


def given(where: Namespace, commands: str) -> None:
    with where.entered():
        subprocess.run(["/bin/sh", "-ec", commands], check=True)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_what_eth0_has_lost_is_restored_once(lab: Lab, loss: str) -> None:
    lab.add_bridge()
    inside = lab.begin()
    web = endpoint(inside)
    lab.attach(web)
    before = interfaces(inside), addresses(inside, "eth0"), default_routes(inside)
    with lab.host.entered():
        assert not lab.links.restore_inside(web)
        given(inside, loss)
        assert lab.links.restore_inside(web)
        assert not lab.links.restore_inside(web)
    found = addresses(inside, "eth0")
    assert (interfaces(inside), default_routes(inside)) == (before[0], before[2])
    assert {each for each in found if not each.startswith("fe80")} == {
        each for each in before[1] if not each.startswith("fe80")
    }
    assert ask(lab.host, inside, "172.30.0.2") == "172.30.0.1"
    assert ask(lab.host, inside, "fd30::2") == "fd30::1"


def test_a_default_route_of_another_kind_is_kept(lab: Lab) -> None:
    """And so is an eth0 that is none of ours."""
    lab.add_bridge()
    inside = lab.begin()
    web = endpoint(inside)
    lab.attach(web)
    given(inside, "ip route replace default via 172.30.0.9")
    with lab.host.entered():
        assert not lab.links.restore_inside(web)
        assert ("172.30.0.9", "eth0") in default_routes(inside)
        given(
            inside,
            "ip link set eth0 down; ip link set eth0 name wan0; ip link add eth0 type bridge",
        )
        assert not lab.links.restore_inside(web)


def test_names_may_have_dots(lab: Lab) -> None:
    """Also in the paths of their settings; there a dot must not lead to another interface."""
    network = replace(NO_IPV6, bridge="br.lab.1")
    for bridge in ("br", "br.lab"):
        lab.add_bridge(replace(NO_IPV4, bridge=bridge))
    lab.add_bridge(network)
    inside = lab.begin()
    lab.attach(replace(endpoint(inside, network), name="web.1"))
    assert ask(inside, lab.host, "172.30.0.1") == "172.30.0.2"
    assert ("hpv-web.1", 1) in interfaces(lab.host)
    off = {name: setting(lab.host, name, "disable_ipv6") for name in ("br", "br.lab", "br.lab.1")}
    assert off == {"br": "0", "br.lab": "0", "br.lab.1": "1"}


def test_a_bridge_keeps_its_hardware_address_as_ports_come_and_go(lab: Lab) -> None:
    lab.add_bridge()
    before = link(lab.host, "hp-lab").get_attr("IFLA_ADDRESS")
    for last in (2, 3, 4):
        lab.attach(endpoint(lab.begin(), last=last))
        assert link(lab.host, "hp-lab").get_attr("IFLA_ADDRESS") == before
    assert int(before[:2], 16) & 0b11 == 0b10  # locally administered, unicast


@pytest.mark.parametrize("network", [NETWORK, NO_IPV4], ids=["ipv4", "ipv6"])
def test_an_address_that_is_used_again_is_found_at_once(lab: Lab, network: BridgeNetwork) -> None:
    """Neighbours go on sending to the hardware address that they know for it."""
    lab.add_bridge(network)
    found = []
    for last in (2, 2, 3):
        inside = lab.begin()
        mine = endpoint(inside, network, last)
        lab.attach(mine)
        found.append(link(inside, "eth0").get_attr("IFLA_ADDRESS"))
        for ip in map(str, mine.addresses):
            assert ask(lab.host, inside, ip)
        lab.detach(mine)
    assert found[0] == found[1] != found[2]


def test_a_bridge_keeps_its_mtu(lab: Lab) -> None:
    """It has the least of its ports'; of an endpoint's, too, if that doesn't take the bridge's."""
    add_interfaces(lab.host, "br0", "bridge")
    with lab.host.entered(), IPRoute() as links:
        links.link("add", ifname="nic", kind="veth", peer="far", mtu=9000)
        master = links.link_lookup(ifname="br0")[0]
        links.link("set", index=links.link_lookup(ifname="nic")[0], master=master)
    theirs = replace(NETWORK, bridge="br0", existing=True)
    inside = lab.begin()
    lab.attach(endpoint(inside, theirs))
    assert link(lab.host, "br0").get_attr("IFLA_MTU") == 9000
    assert link(inside, "eth0").get_attr("IFLA_MTU") == 9000


def add_interfaces(where: Namespace, name: str, kind: str, *found: str) -> None:
    """Make an interface, set up, with addresses."""
    with where.entered(), IPRoute() as links:
        links.link("add", ifname=name, kind=kind)
        (index,) = links.link_lookup(ifname=name)
        links.link("set", index=index, state="up")
        for ip, _, length in (each.partition("/") for each in found):
            links.addr("add", index=index, address=ip, prefixlen=int(length))


def test_an_eth0_of_somebody_else_is_refused_and_kept(lab: Lab) -> None:
    inside = lab.begin()
    add_interfaces(inside, "eth0", "bridge", "192.0.2.1/24")
    lab.add_bridge()
    before = interfaces(lab.host), interfaces(inside), addresses(inside, "eth0")
    with pytest.raises(LinkFailed) as caught:
        lab.attach(endpoint(inside))
    assert str(caught.value) == (
        f"namespace '/run/netns/{inside.name}' of endpoint 'e2' has an interface 'eth0' already; "
        "rename or remove that one, or add the endpoint by its --address"
    )
    assert (interfaces(lab.host), interfaces(inside), addresses(inside, "eth0")) == before


def test_an_interface_of_somebody_else_is_not_taken_for_a_cable(lab: Lab) -> None:
    lab.add_bridge()
    add_interfaces(lab.host, "hpv-e2", "bridge")
    web = endpoint(lab.begin())
    before = interfaces(lab.host)
    with pytest.raises(LinkFailed, match="'hpv-e2' of endpoint 'e2' is there already"):
        lab.attach(web)
    lab.detach(web)
    assert interfaces(lab.host) == before


def test_what_fails_inside_leaves_nothing_in_either_namespace(lab: Lab) -> None:
    """Also not loopback, which was down before."""
    inside = lab.begin()
    add_interfaces(inside, "wan", "bridge", "192.0.2.2/24")
    with inside.entered(), IPRoute() as links:
        links.route("add", dst="default", gateway="192.0.2.1")
    lab.add_bridge()
    before = interfaces(lab.host), interfaces(inside), default_routes(inside)
    with pytest.raises(LinkFailed) as caught:
        lab.attach(endpoint(inside))
    assert str(caught.value) == (
        "the default route by 172.30.0.1 can't be added: File exists; "
        "remove the namespace's own default route, or use an --internal network"
    )
    assert (interfaces(lab.host), interfaces(inside), default_routes(inside)) == before


def test_a_bridge_that_can_not_have_its_addresses_is_removed(lab: Lab) -> None:
    before = interfaces(lab.host)
    wrong = replace(NETWORK, subnet_ipv6=IPv6Network("ff05::/64"))
    with pytest.raises(LinkFailed, match="can't have the address ff05::1/64"):
        lab.add_bridge(wrong)
    assert interfaces(lab.host) == before


def test_the_namespace_of_the_host_is_no_endpoint(lab: Lab) -> None:
    lab.add_bridge()
    before = interfaces(lab.host)
    with pytest.raises(LinkFailed, match="is the host's own"):
        lab.attach(endpoint(lab.host))
    assert interfaces(lab.host) == before


@pytest.mark.parametrize("path", ["/run/netns/gone", "/proc/self/ns/mnt", "/dev/null"])
def test_what_is_no_network_namespace_is_refused(lab: Lab, path: str) -> None:
    lab.add_bridge()
    web = replace(endpoint(lab.host), namespace=path)
    with pytest.raises(LinkFailed) as caught:
        lab.attach(web)
    assert str(caught.value).startswith(f"namespace {path!r} of endpoint 'e2' can't be used: ")
    assert str(caught.value).endswith("remove the endpoint and add it anew")
    assert ("`hostports reload`" in str(caught.value)) is not web.of_process
    assert not lab.attached(web)


def current() -> int:
    """The network namespace that this thread is in, as a number."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_a_thread_stays_in_its_namespace_whatever_becomes_of_a_call(lab: Lab) -> None:
    outside = current()
    inside, furnished = lab.begin(), lab.begin()
    add_interfaces(furnished, "eth0", "bridge")
    with lab.host.entered():
        host = current()
        lab.links.add_bridge(NETWORK)
        lab.links.attach(endpoint(inside))
        assert current() == host
        with pytest.raises(LinkFailed):
            lab.links.attach(endpoint(furnished, last=3))
        assert current() == host
        assert lab.links.attached(endpoint(inside))
        assert current() == host
    assert current() == outside


def test_a_program_with_an_event_loop_may_call(lab: Lab) -> None:
    """pyroute2 has one of its own, and a thread can run but one."""

    async def call() -> bool:
        lab.links.add_bridge(NETWORK)
        lab.links.attach(mine)
        return lab.links.attached(mine)

    mine = endpoint(lab.begin())
    with lab.host.entered():
        assert asyncio.run(call())


CAP_NET_ADMIN, CAPABILITY_VERSION = 12, 0x20080522


def without_right(work: Callable[[], T]) -> T:
    """What some work gives without CAP_NET_ADMIN, in a thread of its own, which alone loses it."""

    def unprivileged() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        # For the first and last 32 capabilities each: effective, permitted, inheritable.
        have = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, have) == 0
        have[0] &= ~(1 << CAP_NET_ADMIN)
        assert libc.capset(header, have) == 0
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(unprivileged).result()


def test_a_process_without_the_right_is_told_so(lab: Lab) -> None:
    inside = lab.begin()
    lab.add_bridge()
    calls: list[Callable[[], None]] = [
        lambda: lab.links.add_bridge(replace(NETWORK, bridge="hp-b")),
        lambda: lab.links.remove_bridge(NETWORK),
        lambda: lab.links.attach(endpoint(inside)),
    ]
    before = interfaces(lab.host)
    with lab.host.entered():
        for call in calls:
            with pytest.raises(NotPermitted) as caught:
                without_right(call)
            assert str(caught.value).endswith("; run as root or with CAP_NET_ADMIN")
            assert "\n" not in str(caught.value)
    assert interfaces(lab.host) == before
    assert interfaces(inside) == [("lo", 0)]


KILLED = """
import sys
from tests.netns.test_links import LinuxLinks, NETWORK, endpoint, Namespace
links, mine = LinuxLinks(), endpoint(Namespace(sys.argv[1]))
print(flush=True)
while True:
    links.add_bridge(NETWORK)
    links.attach(mine)
    links.detach(mine)
    links.remove_bridge(NETWORK)
"""


def test_after_a_kill_what_is_there_is_complete_and_the_rest_can_be_made(lab: Lab) -> None:
    """So a daemon that starts makes what isn't there, and all is as it should be."""
    inside = lab.begin()
    mine = endpoint(inside)
    for _ in range(8):
        with lab.host.entered():
            command = [sys.executable, "-c", KILLED, inside.name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
                assert child.stdout
                child.stdout.readline()
                sleep(random.uniform(0, 0.1))  # noqa: S311 - any moment will do
                child.kill()
            if "hp-lab" not in lab.links.read().interfaces:
                lab.links.add_bridge(NETWORK)
            if not lab.links.attached(mine):
                lab.links.attach(mine)
        assert ask(inside, lab.host, "fd30::1") == "fd30::2"
        assert ask(inside, lab.host, "172.30.0.1") == "172.30.0.2"
        assert [gateway for gateway, _ in default_routes(inside)] == GATEWAYS
        with lab.host.entered():
            lab.links.detach(mine)
            lab.links.remove_bridge(NETWORK)
        assert interfaces(lab.host) == [("lo", 1)]


def test_the_host_is_read_as_decisions_need_it(lab: Lab) -> None:
    """Routes that drop have no interface; none are of other tables, of addresses, to everywhere."""
    with lab.host.entered(), IPRoute() as links:
        links.link("add", ifname="nic.1", kind="veth", peer="far")
        for name in ("nic.1", "far"):
            links.link("set", index=links.link_lookup(ifname=name)[0], state="up")
        (index,) = links.link_lookup(ifname="nic.1")
        links.addr("add", index=index, address="10.1.0.5", prefixlen=24)
        links.addr("add", index=index, address="10.2.0.2", local="10.2.0.1", prefixlen=32)
        links.addr("add", index=index, address="fd01::1", prefixlen=64)
        by, by_ipv6 = {"gateway": "10.1.0.1"}, {"gateway": "fd01::9"}
        links.route("add", dst="default", **by)
        links.route("add", dst="default", **by_ipv6)
        links.route("add", dst="0.0.0.0/1", **by)
        links.route("add", dst="10.4.0.0/16", **by)
        links.route("add", dst="10.4.0.0/16", type="blackhole", priority=50)
        links.route("add", dst="10.5.0.0/16", type="unreachable")
        links.route("add", dst="fd05::/64", type="blackhole")
        links.route("add", dst="10.6.0.0/16", multipath=[by, {"gateway": "10.1.0.2"}])
        links.route("add", dst="fd06::/64", multipath=[by_ipv6, {"gateway": "fd01::8"}])
        links.route("add", dst="10.7.0.0/16", table=100, **by)
        links.route("add", dst="fe80::/10", oif=index)
        read = lab.links.read()
    assert read.routes == {
        ip_network(to): name
        for to, name in {
            "10.1.0.0/24": "nic.1",
            "10.2.0.2/32": "nic.1",
            "10.4.0.0/16": "nic.1",
            "10.5.0.0/16": "",
            "10.6.0.0/16": "nic.1",
            "fd01::/64": "nic.1",
            "fd05::/64": "",
            "fd06::/64": "nic.1",
        }.items()
    }
    subnets = {str(each) for each in read.interfaces["nic.1"].subnets if not each.is_link_local}
    assert subnets == {"10.1.0.0/24", "10.2.0.1/32", "10.2.0.2/32", "fd01::/64"}


def test_a_namespace_is_found_by_name_path_or_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with namespace() as made:
        named = f"/run/netns/{made.name}"
        assert namespace_path(made.name) == named
        assert namespace_path(named) == named
        (tmp_path / "ns").symlink_to(named)
        monkeypatch.chdir(tmp_path)
        assert namespace_path("./ns") == f"{tmp_path}/ns"
    assert namespace_of(os.getpid()) == f"/proc/{os.getpid()}/ns/net"
    assert namespace_path(namespace_of(os.getpid())) == namespace_of(os.getpid())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere", "'nowhere': there is no '/run/netns/nowhere'; write a name as `ip netns`"),
        ("/nowhere/ns", "'/nowhere/ns': there is no '/nowhere/ns'; "),
        ("/dev/null", "'/dev/null': it is no network namespace; "),
        ("/proc/self/ns/mnt", "'/proc/self/ns/mnt': it is no network namespace; "),
        ("/dev/null/ns", "'/dev/null/ns': Not a directory; "),
        ("..", "'..': it is no network namespace; "),
        ("", "'': it is no network namespace; "),
        ("a\nb", r"'a\nb': there is no '/run/netns/a\nb'; "),
        ("/proc/" + "9" * 5000 + "/ns/net", "'/proc/99"),
        ("a\0b", r"'a\x00b': it can't be the name of a file; "),
        ("/proc/999999999/ns/net", "'999999999': there is no such process; give the pid of one"),
    ],
)
def test_what_is_no_namespace_is_refused_by_its_name(text: str, reason: str) -> None:
    with pytest.raises(UnusableValue) as caught:
        namespace_path(text)
    assert str(caught.value).startswith(reason)


def test_a_process_that_has_ended_has_no_namespace() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(UnusableValue, match="there is no such process"):
            namespace_of(child.pid)

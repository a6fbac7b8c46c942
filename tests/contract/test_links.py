"""One suite for the fake links and Linux's: what `Links` promises, both keep."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_interface,
    ip_network,
)
from itertools import count
from typing import NamedTuple

import pytest
from pyroute2 import IPRoute

from hostports import BridgeNetwork, Endpoint, GatewayMode
from hostports.errors import LinkFailed, UnusableValue
from hostports.interfaces import Links
from hostports.linux.links import LinuxLinks
from hostports.model.address import IPNetwork
from hostports.model.links import HostLinks, Interface
from hostports.testing import EVERY, FakeLinks, Faults
from tests.netns.namespaces import IFA_F_NODAD, Namespace, namespace

NETWORK = BridgeNetwork(
    "lab",
    bridge="hp-lab",
    subnet_ipv4=IPv4Network("172.30.0.0/24"),
    subnet_ipv6=IPv6Network("fd30::/64"),
)
ISOLATED = replace(
    NETWORK,
    internal=True,
    gateway_mode_ipv4=GatewayMode.ISOLATED,
    gateway_mode_ipv6=GatewayMode.ISOLATED,
)
#: What the host has before: somebody else's bridge, a cable to the world, and a route that drops.
THEIRS = replace(NETWORK, name="theirs", bridge="br0", existing=True)
ADDRESSES = {"br0": "10.99.0.1/24", "uplink": "192.0.2.10/24", "far": "fd99::1/64"}
ROUTES: dict[IPNetwork, str] = {
    IPv4Network("10.99.0.0/24"): "br0",
    IPv4Network("192.0.2.0/24"): "uplink",
    IPv6Network("fd99::/64"): "far",
    IPv4Network("198.51.100.0/24"): "",
}


class Case(NamedTuple):
    """Links, ways to make namespaces, by their files, and to end them, and to harm a bridge."""

    links: Links
    begin: Callable[[], str]
    end: Callable[[str], None]
    lay_bare: Callable[[str], None]

    def read(self) -> HostLinks:
        """What is there, but link-local subnets: interfaces have these, and get them late."""
        read = self.links.read()
        interfaces = {
            name: Interface(
                tuple(subnet for subnet in each.subnets if not subnet.is_link_local), each.bridge
            )
            for name, each in read.interfaces.items()
        }
        return HostLinks(interfaces, read.routes)

    def subnets(self, name: str) -> set[IPNetwork]:
        """The subnets of a bridge."""
        found = self.read().interfaces[name]
        assert found.bridge
        return set(found.subnets)

    def endpoint(self, name: str = "web", last: int = 2, **changed: object) -> Endpoint:
        """An endpoint with a new namespace."""
        made = Endpoint(
            name, NETWORK, IPv4Address(f"172.30.0.{last}"), IPv6Address(f"fd30::{last}")
        )
        return replace(made, **({"namespace": self.begin()} | changed))  # type: ignore[arg-type]


@contextmanager
def fake() -> Iterator[Case]:
    interfaces = {
        name: Interface((ip_interface(address).network,), bridge=name == "br0")
        for name, address in ADDRESSES.items()
    }
    links = FakeLinks(HostLinks(interfaces, ROUTES))
    numbers = count()
    yield Case(links, lambda: f"/run/netns/{next(numbers)}", links.gone.add, links.lay_bare)


@contextmanager
def linux() -> Iterator[Case]:
    with ExitStack() as stack:
        host = stack.enter_context(namespace())
        namespaces: dict[str, ExitStack] = {}

        def begin() -> str:
            mine = stack.enter_context(ExitStack())
            path = f"/run/netns/{mine.enter_context(namespace()).name}"
            namespaces[path] = mine
            return path

        _furnish(host)
        stack.enter_context(host.entered())
        yield Case(LinuxLinks(), begin, lambda path: namespaces[path].close(), _lay_bare)


def _lay_bare(bridge: str) -> None:
    with IPRoute() as links:
        links.flush_addr(index=links.link_lookup(ifname=bridge)[0])


def _furnish(host: Namespace) -> None:
    with host.entered(), IPRoute() as links:
        links.link("add", ifname="br0", kind="bridge")
        links.link("add", ifname="uplink", kind="veth", peer="far")
        for name, address in ADDRESSES.items():
            (index,) = links.link_lookup(ifname=name)
            links.link("set", index=index, state="up")
            ip, _, length = address.partition("/")
            links.addr("add", index=index, address=ip, prefixlen=int(length), IFA_FLAGS=IFA_F_NODAD)
        links.route("add", dst="198.51.100.0/24", type="blackhole")
        links.route("add", dst="default", gateway="192.0.2.1")


@pytest.fixture(params=[fake, linux], ids=["fake", "linux"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    made: Callable[[], AbstractContextManager[Case]] = request.param
    with made() as case:
        yield case


def test_the_host_is_read_with_all_that_takes_addresses(case: Case) -> None:
    """Default routes don't: they lead to what is anywhere."""
    read = case.read()
    for name, address in ADDRESSES.items():
        assert ip_interface(address).network in read.interfaces[name].subnets
        assert read.interfaces[name].bridge is (name == "br0")
    assert read.routes == ROUTES


def test_a_bridge_has_the_subnets_of_its_network_until_it_is_removed(case: Case) -> None:
    before = case.read()
    case.links.add_bridge(NETWORK)
    assert case.subnets("hp-lab") == {NETWORK.subnet_ipv4, NETWORK.subnet_ipv6}
    assert case.read().routes == ROUTES | {
        ip_network("172.30.0.0/24"): "hp-lab",
        ip_network("fd30::/64"): "hp-lab",
    }
    case.links.remove_bridge(NETWORK)
    assert case.read() == before


@pytest.mark.parametrize("missing", ["subnet_ipv4", "subnet_ipv6"])
def test_a_bridge_has_the_families_of_its_network(case: Case, missing: str) -> None:
    changed: dict[str, None] = {missing: None}
    network = replace(NETWORK, **changed)  # type: ignore[arg-type]
    case.links.add_bridge(network)
    assert case.subnets("hp-lab") == {network.subnet_ipv4, network.subnet_ipv6} - {None}


def test_an_isolated_network_has_a_bridge_without_addresses(case: Case) -> None:
    case.links.add_bridge(ISOLATED)
    assert case.subnets("hp-lab") == set()


@pytest.mark.parametrize("taken", ["hp-lab", "br0", "uplink"])
def test_a_bridge_is_not_made_of_what_is_there(case: Case, taken: str) -> None:
    case.links.add_bridge(NETWORK)
    before = case.read()
    other = replace(NETWORK, bridge=taken, subnet_ipv4=IPv4Network("172.31.0.0/24"))
    with pytest.raises(LinkFailed, match=taken):
        case.links.add_bridge(other)
    assert case.read() == before


def test_what_our_bridge_has_lost_is_restored_once(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    before = case.read()
    assert not case.links.restore_bridge(NETWORK)
    for damage in (case.links.remove_bridge, lambda network: case.lay_bare(network.bridge)):
        damage(NETWORK)
        assert case.read() != before
        assert case.links.restore_bridge(NETWORK)
        assert case.read() == before
        assert not case.links.restore_bridge(NETWORK)


def test_a_bridge_of_somebody_else_is_not_restored(case: Case) -> None:
    for name in ("br0", "nowhere"):
        before = case.read()
        assert not case.links.restore_bridge(replace(THEIRS, bridge=name))
        assert case.read() == before


def test_removing_a_bridge_that_is_not_there_has_no_effect(case: Case) -> None:
    before = case.read()
    case.links.remove_bridge(NETWORK)
    case.links.remove_bridge(replace(NETWORK, bridge="uplink"))
    assert case.read() == before


def test_an_existing_bridge_stays_as_it_is(case: Case) -> None:
    before = case.read()
    case.links.add_bridge(THEIRS)
    case.links.remove_bridge(THEIRS)
    assert case.read() == before


@pytest.mark.parametrize("name", ["nowhere", "uplink"])
def test_an_existing_bridge_has_to_be_there_and_to_be_a_bridge(case: Case, name: str) -> None:
    with pytest.raises(LinkFailed, match=name):
        case.links.add_bridge(replace(THEIRS, bridge=name))


def test_a_network_for_ports_only_may_be_behind_any_interface_that_is_there(case: Case) -> None:
    ports_only = replace(THEIRS, bridge="uplink", ports_only=True)
    before = case.read()
    case.links.add_bridge(ports_only)
    case.links.remove_bridge(ports_only)
    assert case.read() == before
    with pytest.raises(LinkFailed, match="nowhere"):
        case.links.add_bridge(replace(ports_only, bridge="nowhere"))


def test_an_endpoint_is_attached_until_it_is_detached(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    assert not case.links.attached(web)
    for _ in range(2):
        case.links.attach(web)
        assert case.links.attached(web)
        case.links.detach(web)
        assert not case.links.attached(web)
    case.links.detach(web)


def test_endpoints_are_attached_each_on_its_own(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web, db, lan = case.endpoint("web", 2), case.endpoint("db", 3), case.endpoint(network=THEIRS)
    lan = replace(lan, name="lan")
    for each in (web, db, lan):
        case.links.attach(each)
    case.links.detach(web)
    assert [case.links.attached(each) for each in (web, db, lan)] == [False, True, True]


def test_an_endpoint_without_a_namespace_is_not_touched(case: Case) -> None:
    """Not even when there is no bridge; and one with a cable has nothing to do with it."""
    case.links.attach(case.endpoint(namespace=""))
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.links.attach(web)
    case.links.detach(replace(web, namespace=""))
    assert case.links.attached(web)
    assert not case.links.attached(replace(web, namespace=""))


def test_a_cable_is_not_laid_twice(case: Case) -> None:
    """Neither for one endpoint nor into one namespace; what was there stays."""
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.links.attach(web)
    for again in (web, replace(web, name="db"), replace(web, namespace=case.begin())):
        with pytest.raises(LinkFailed, match="already"):
            case.links.attach(again)
        assert case.links.attached(again) is (again == web)
    assert case.links.attached(web)


def test_a_cable_needs_a_bridge(case: Case) -> None:
    web = case.endpoint()
    with pytest.raises(LinkFailed, match="hp-lab"):
        case.links.attach(web)
    assert not case.links.attached(web)
    case.links.add_bridge(NETWORK)
    case.links.attach(web)
    assert case.links.attached(web)


def test_a_cable_needs_a_namespace(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.end(web.namespace)
    with pytest.raises(LinkFailed, match=web.namespace):
        case.links.attach(web)
    assert not case.links.attached(web)


def test_a_namespace_takes_its_cable_along(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.links.attach(web)
    case.end(web.namespace)
    assert not case.links.attached(web)
    case.links.detach(web)
    again = case.endpoint()
    case.links.attach(again)
    assert case.links.attached(again)


def test_a_namespace_is_given_by_path_or_by_name(case: Case) -> None:
    path = case.begin()
    name = path.removeprefix("/run/netns/")
    assert case.links.namespace(path) == path
    assert case.links.namespace(name) == path
    case.end(path)
    for text in (path, name):
        with pytest.raises(UnusableValue, match=text):
            case.links.namespace(text)


def test_another_namespace_or_bridge_is_not_the_one(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.links.attach(web)
    for other in (replace(web, namespace=case.begin()), replace(web, network=THEIRS)):
        assert not case.links.attached(other)


def test_a_new_bridge_does_not_know_the_cables_of_the_former_one(case: Case) -> None:
    case.links.add_bridge(NETWORK)
    web = case.endpoint()
    case.links.attach(web)
    case.links.remove_bridge(NETWORK)
    assert not case.links.attached(web)
    case.links.add_bridge(NETWORK)
    assert not case.links.attached(web)
    case.links.attach(web)
    assert case.links.attached(web)


@pytest.mark.parametrize("call", ["add_bridge", "remove_bridge", "attach", "detach"])
def test_a_fault_of_the_fake_changes_nothing(call: str) -> None:
    faults = Faults()
    links = FakeLinks(faults=faults)
    web = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), namespace="/run/netns/web")
    if call != "add_bridge":
        links.add_bridge(NETWORK)
    if call == "detach":
        links.attach(web)
    before = links.dump()
    faults.failing = {f"links.{call}": [EVERY]}
    with pytest.raises(LinkFailed, match="injected"):
        getattr(links, call)(web if call in ("attach", "detach") else NETWORK)
    assert links.dump() == before
    assert faults.calls[-1] == f"links.{call}"


def test_the_fake_shows_what_it_holds() -> None:
    links = FakeLinks()
    links.add_bridge(NETWORK)
    links.attach(Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), namespace="/run/netns/web"))
    assert links.dump() == [
        "bridge hp-lab 172.30.0.0/24 fd30::/64",
        "cable of web from hp-lab to /run/netns/web",
    ]

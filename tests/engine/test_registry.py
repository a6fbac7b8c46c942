"""Networks and endpoints by name: all of a call or nothing, and a record of what is wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Address, ip_address

import pytest

from hostports import Edges, Engine, Protocol, parse_spec
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.engine.registry import PortsRequest, Published, Registry
from hostports.engine.restart import Return, bring_back, serve_again
from hostports.errors import (
    HostportsError,
    InUse,
    NameTaken,
    NotFound,
    ReleaseFailed,
)
from hostports.model.firewall import FirewallChange
from hostports.model.flow import Flow
from hostports.model.host import Host
from hostports.model.port import PortRange
from hostports.model.published import Path
from hostports.testing import (
    EVERY,
    FakeClock,
    FakeConntrack,
    FakeFirewall,
    FakeHostFacts,
    FakeHostSockets,
    FakeKernel,
    FakeLinks,
    FakePortDriver,
    FakeRelay,
    FakeStore,
    Faults,
)

ADDRESSES = [ip_address("127.0.0.1"), ip_address("::1"), ip_address("192.0.2.10")]
NETNS = "/run/netns/web"


@dataclass
class Site:
    """A host of fakes, and a registry on it; another life of the daemon begins with `restart`."""

    relayed: bool = True
    faults: Faults = field(default_factory=Faults)
    driver: FakePortDriver | None = None

    def __post_init__(self) -> None:
        self.kernel = FakeKernel(ADDRESSES)
        self.links = FakeLinks(faults=self.faults)
        self.store = FakeStore(self.faults)
        self.firewall = FakeFirewall(self.faults)
        self.relay = FakeRelay(self.faults)
        self.clock = FakeClock()
        self.conntrack = FakeConntrack(faults=self.faults)
        self.facts = FakeHostFacts(Host(dynamic_ports=PortRange(49200, 49299)), self.faults)
        self.registry = self._registry()

    def _registry(self) -> Registry:
        self.sockets = FakeHostSockets(self.kernel, self.faults)
        edges = Edges(
            self.facts,
            self.sockets,
            self.firewall,
            self.relay if self.relayed else None,
            self.driver,
            conntrack=self.conntrack,
            links=self.links,
            store=self.store,
            clock=self.clock,
        )
        return Registry(Engine(edges))

    def restart(self) -> Return:
        """Begin again with what is recorded, as a daemon does."""
        self.registry = self._registry()
        return bring_back(self.registry, self.store.load())

    def web(self) -> Registry:
        """With a network and an endpoint."""
        self.registry.create_network(NetworkRequest("lab"))
        self.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
        return self.registry

    def publish(self, *specs: str) -> Published:
        parsed = [spec for text in specs for spec in parse_spec(text)]
        return self.registry.publish(PortsRequest("web", parsed))

    def occupy(self, port: int, protocol: Protocol = Protocol.TCP) -> None:
        """Another process has a port of every IPv4 address."""
        tcp = protocol is Protocol.TCP
        self.other = self.kernel.open(protocol, IPv4Address("0.0.0.0"), port, reuseaddr=tcp)
        if tcp:
            self.kernel.listen(self.other)

    def free(self) -> None:
        """It has ended."""
        self.kernel.close(self.other)

    def dump(self) -> dict[str, object]:
        return {
            "links": self.links.dump(),
            "store": self.store.dump(),
            "firewall": self.firewall.dump(),
            "relay": self.relay.dump(),
            "kernel": len(self.kernel.sockets()),
            "networks": self.registry.networks(),
            "endpoints": self.registry.endpoints(),
            "published": self.registry.engine.published(),
        }


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_network_has_a_bridge_rules_and_a_record(site: Site) -> None:
    network = site.registry.create_network(NetworkRequest("lab"))
    assert site.registry.networks() == [network] == [site.registry.network("lab")]
    assert site.links.dump() == [f"bridge hp-lab {network.subnet_ipv4} {network.subnet_ipv6}"]
    assert site.store.dump() == ["network lab"]


def test_an_endpoint_is_wired_up_under_the_path_of_its_namespace(site: Site) -> None:
    endpoint = site.web().endpoint("web")
    assert (endpoint.namespace, str(endpoint.ipv4)) == (NETNS, "10.87.0.2")
    assert site.links.attached(endpoint)
    assert site.registry.endpoints("lab") == [endpoint]


def test_a_namespace_may_be_given_by_its_name(site: Site) -> None:
    site.registry.create_network(NetworkRequest("lab"))
    assert site.registry.add_endpoint(EndpointRequest("lab", "web", "web")).namespace == NETNS


def test_what_is_not_there_is_named(site: Site) -> None:
    registry = site.registry
    calls: Sequence[Callable[[], object]] = (
        lambda: registry.network("lab"),
        lambda: registry.remove_network("lab"),
        lambda: registry.endpoints("lab"),
        lambda: registry.add_endpoint(EndpointRequest("lab", "web", NETNS)),
        lambda: registry.endpoint("lab"),
        lambda: registry.remove_endpoint("lab"),
        lambda: registry.ports("lab"),
        lambda: registry.unpublish("lab"),
        lambda: registry.publish(PortsRequest("lab", parse_spec("80"))),
        lambda: registry.plan(PortsRequest("lab", parse_spec("80"))),
    )
    for call in calls:
        with pytest.raises(NotFound, match="'lab'"):
            call()


def test_names_are_taken_once(site: Site) -> None:
    site.web()
    before = site.dump()
    with pytest.raises(NameTaken, match="network 'lab'"):
        site.registry.create_network(NetworkRequest("lab"))
    with pytest.raises(NameTaken, match="endpoint 'web'"):
        site.registry.add_endpoint(EndpointRequest("lab", "web", "/run/netns/other"))
    assert site.dump() == before


def test_a_network_with_endpoints_is_removed_by_force_only(site: Site) -> None:
    empty = site.dump()
    site.web()
    site.publish("8080:80")
    with pytest.raises(InUse, match="'web'"):
        site.registry.remove_network("lab")
    site.registry.remove_network("lab", force=True)
    assert site.dump() == empty


def test_a_removed_endpoint_takes_its_ports_along(site: Site) -> None:
    site.registry.create_network(NetworkRequest("lab"))
    before = site.dump()
    site.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
    site.publish("8080:80", "53:53/udp")
    site.registry.remove_endpoint("web")
    assert site.dump() == before


@pytest.mark.parametrize("call", ["store.record", "firewall.apply", "links.add_bridge"])
def test_a_network_that_can_not_be_made_leaves_nothing(call: str) -> None:
    site = Site(faults=Faults({call: [1]}))
    empty = site.dump()
    with pytest.raises(HostportsError, match="injected"):
        site.registry.create_network(NetworkRequest("lab"))
    assert site.dump() == empty


@pytest.mark.parametrize(
    "call", ["store.record", "firewall.apply", "links.attach", "conntrack.forget"]
)
def test_an_endpoint_that_can_not_be_added_leaves_nothing(call: str) -> None:
    number = 2 if call in ("store.record", "firewall.apply") else 1
    site = Site(faults=Faults({call: [number]}))
    site.registry.create_network(NetworkRequest("lab"))
    before = site.dump()
    with pytest.raises(HostportsError, match="injected"):
        site.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
    assert site.dump() == before


def test_a_removal_goes_on_after_errors_and_tells_them_all(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    site.faults.failing = dict.fromkeys(
        ("links.detach", "links.remove_bridge", "relay.remove"), (EVERY,)
    )
    with pytest.raises(ReleaseFailed) as caught:
        site.registry.remove_network("lab", force=True)
    assert len(caught.value.errors) == 4
    assert (site.registry.networks(), site.registry.endpoints(), site.store.dump()) == ([], [], [])


def test_what_is_published_is_shown_with_its_ways_and_since_when(site: Site) -> None:
    site.web()
    ports = site.publish("8080:80").ports
    assert [each.path for each in ports] == [Path.NAT_AND_RELAY] * 2
    assert {each.created for each in ports} == {site.clock.now()}
    assert site.registry.ports() == site.registry.ports("web") == list(ports)


def test_a_port_is_recorded_as_published_when_it_is_shown_to_be(site: Site) -> None:
    site.clock.step = timedelta(seconds=1)
    site.web()
    site.publish("8080:80")
    assert site.store.load().bindings == site.registry.engine.created()


def test_without_a_relay_nat_is_the_only_way() -> None:
    site = Site(relayed=False)
    site.web()
    assert {each.path for each in site.publish("8080:80").ports} == {Path.NAT}


def test_a_plan_touches_nothing_and_says_what_the_firewall_would_do(site: Site) -> None:
    site.web()
    before = site.dump()
    plan = site.registry.plan(PortsRequest("web", parse_spec("8080:80")))
    assert [str(each) for each in plan.sockets] == ["0.0.0.0:8080/tcp", "[::]:8080/tcp"]
    assert len(plan.rules) == 2
    assert site.dump() == before


def test_ports_of_a_running_endpoint_come_and_go_without_the_others(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    before = site.dump()
    site.publish("8081:81", "8082:82")
    assert len(site.registry.unpublish("web", parse_spec("8081:81"))) == 2
    assert len(site.registry.unpublish("web", parse_spec("82"))) == 2
    assert site.dump() == before


def host_ports(published: Published) -> set[int]:
    return {each.binding.host_port for each in published.ports}


def test_an_endpoint_that_comes_back_has_its_former_dynamic_port(site: Site) -> None:
    site.web().add_endpoint(EndpointRequest("lab", "other", "/run/netns/other"))
    site.registry.publish(PortsRequest("other", parse_spec("80")))
    former = host_ports(site.publish("80"))
    for name in ("other", "web"):
        site.registry.remove_endpoint(name)
    site.restart()
    site.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
    plan = site.registry.plan(PortsRequest("web", parse_spec("80")))
    assert {each.host_port for each in plan.bindings} == former
    assert host_ports(site.publish("80")) == former


@pytest.mark.parametrize("spec", ["9300-9310:80", "81", "9400:80"])
def test_a_former_port_is_not_given_where_another_is_asked_for(site: Site, spec: str) -> None:
    site.web()
    former = host_ports(site.publish("80"))
    site.registry.unpublish("web")
    assert host_ports(site.publish(spec)).isdisjoint(former)


def test_a_former_port_that_somebody_has_is_left_to_them(site: Site) -> None:
    site.web()
    (former,) = host_ports(site.publish("80"))
    site.registry.unpublish("web")
    site.occupy(former)
    published = host_ports(site.publish("80"))
    assert len(published) == 1
    assert former not in published


def test_an_unpublish_that_names_what_is_not_there_changes_nothing(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    before = site.dump()
    with pytest.raises(NotFound, match="8081"):
        site.registry.unpublish("web", [*parse_spec("8080:80"), *parse_spec("8081:80")])
    assert site.dump() == before


@pytest.mark.parametrize("call", ["store.record", "firewall.apply", "sockets.listen", "relay.add"])
def test_a_publish_that_fails_leaves_no_record(call: str, site: Site) -> None:
    site.web()
    before = site.dump()
    site.faults.failing = {call: [1 + site.faults.calls.count(call)]}
    with pytest.raises(HostportsError, match="injected"):
        site.publish("8080:80")
    assert site.dump() == before


def test_after_a_restart_all_is_as_it_was_and_nothing_was_touched(site: Site) -> None:
    site.web()
    site.publish("8080:80", "49200-49210:81", "53:53/udp")
    before, ports = site.dump(), site.registry.ports()
    site.faults.calls.clear()
    assert site.restart() == Return()
    assert site.dump() == before
    assert site.registry.ports() == ports
    assert {"links.add_bridge", "links.attach", "relay.add", "relay.remove"}.isdisjoint(
        site.faults.calls
    )
    with pytest.raises(HostportsError, match="published by endpoint 'web'"):
        site.publish("8080:82")


def test_after_a_restart_of_the_host_all_is_made_anew(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    before = site.dump()
    rebooted = Site(faults=Faults())
    rebooted.store = site.store
    assert rebooted.restart() == Return()
    assert rebooted.dump() == before | {"firewall": rebooted.firewall.dump()}


def test_what_the_relay_serves_and_nobody_wants_goes(site: Site) -> None:
    site.web()
    kept = site.publish("8080:80").ports
    stray = site.publish("8081:81").ports
    bindings = [each.binding for each in stray]
    site.store.record(removed=bindings, at=site.clock.now())
    site.firewall.apply(FirewallChange(closed=tuple(bindings)))
    site.restart()
    assert site.registry.ports() == list(kept)
    assert len(site.relay.held()) == 2


def test_a_port_that_somebody_took_meanwhile_is_lost_and_the_others_are_not(site: Site) -> None:
    site.web()
    site.publish("8080:80", "8081:81")
    rebooted = Site()
    rebooted.store = site.store
    rebooted.occupy(8080)
    returned = rebooted.restart()
    assert [str(each.binding.host_socket) for each in returned.lost] == ["0.0.0.0:8080/tcp"]
    assert len(rebooted.registry.ports()) == 3
    assert not any("0.0.0.0:8080" in line for line in rebooted.firewall.dump())


def test_a_namespace_that_is_gone_is_told_and_keeps_nobody_else_down(site: Site) -> None:
    site.web()
    rebooted = Site()
    rebooted.store = site.store
    rebooted.links.gone.add(NETNS)
    returned = rebooted.restart()
    assert [NETNS in str(each) for each in returned.failures] == [True]
    assert rebooted.registry.networks() == site.registry.networks()


def test_a_new_relay_serves_all_that_the_dead_one_served(site: Site) -> None:
    site.web()
    site.publish("8080:80", "53:53/udp")
    ports, created = site.registry.ports(), site.registry.engine.created()
    kill_relay(site)
    serve_again(site.registry, site.store.load())
    assert site.registry.ports() == ports
    assert site.registry.engine.created() == created
    assert len(site.relay.held()) == 4


def test_what_was_taken_while_there_was_no_relay_is_lost(site: Site) -> None:
    site.web()
    site.publish("8080:80", "8081:81")
    kill_relay(site)
    site.occupy(8081)
    serve_again(site.registry, site.store.load())
    assert [each.binding.host_port for each in site.registry.lost] == [8081]
    assert len(site.relay.held()) == 3


def kill_relay(site: Site) -> None:
    """The relay and its sockets go without a word."""
    site.relay.remove([each.binding for each in site.relay.held()])


def test_a_new_relay_that_fails_may_be_tried_again(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    ports = site.registry.ports()
    kill_relay(site)
    site.faults.failing = {"relay.add": [1 + site.faults.calls.count("relay.add")]}
    with pytest.raises(HostportsError, match="injected"):
        serve_again(site.registry, site.store.load())
    serve_again(site.registry, site.store.load())
    assert site.registry.ports() == ports


def with_a_lost_port() -> Site:
    """After a restart of the host, on which somebody else has port 8080 by then."""
    before = Site()
    before.web()
    before.publish("8080:80", "8081:81")
    site = Site()
    site.store = before.store
    site.occupy(8080)
    site.restart()
    return site


def test_what_was_lost_can_be_unpublished_and_then_stays_away() -> None:
    site = with_a_lost_port()
    assert [str(each.binding.host_socket) for each in site.registry.lost] == ["0.0.0.0:8080/tcp"]
    assert len(site.registry.unpublish("web")) == 4
    assert (site.registry.lost, site.registry.ports()) == ([], [])
    assert site.store.dump() == ["network lab", "endpoint web on lab"]


def test_what_was_lost_goes_with_its_endpoint() -> None:
    site = with_a_lost_port()
    site.registry.remove_endpoint("web")
    assert site.registry.lost == []
    assert site.store.dump() == ["network lab"]


def test_whoever_publishes_a_port_that_was_lost_has_it_for_good() -> None:
    site = with_a_lost_port()
    site.free()
    site.publish("0.0.0.0:8080:82")
    assert site.registry.lost == []
    assert not any("8080:10.87.0.2:80/tcp" in line for line in site.store.dump())


def test_what_was_lost_is_regained_when_nobody_has_it_any_more() -> None:
    site = with_a_lost_port()
    (lost,) = site.registry.lost
    assert site.registry.regain() == []
    assert [each.binding for each in site.registry.lost] == [lost.binding]
    site.free()
    assert site.registry.regain() == [lost.binding]
    assert (site.registry.lost, len(site.registry.ports())) == ([], 4)
    assert len(site.relay.held()) == 4
    assert any("0.0.0.0:8080" in line for line in site.firewall.dump())
    assert site.registry.engine.created() == site.store.load().bindings
    assert site.registry.regain() == []


@pytest.mark.parametrize("call", ["firewall.apply", "relay.add"])
def test_what_can_not_be_regained_may_be_tried_again(call: str) -> None:
    site = with_a_lost_port()
    site.free()
    before = site.dump()
    site.faults.failing = {call: [1 + site.faults.calls.count(call)]}
    with pytest.raises(HostportsError, match="injected"):
        site.registry.regain()
    assert site.dump() == before
    assert len(site.registry.lost) == 1
    assert len(site.registry.regain()) == 1


def test_datagrams_to_a_port_that_is_regained_meet_its_rules() -> None:
    """Whoever had it meanwhile got them as the host's own."""
    before = Site()
    before.web()
    before.publish("53:53/udp")
    site = Site()
    site.store = before.store
    site.occupy(53, Protocol.UDP)
    site.restart()
    site.conntrack.flows = [datagrams(53), datagrams(54)]
    site.free()
    assert len(site.registry.regain()) == 1
    assert site.conntrack.flows == [datagrams(54)]


def datagrams(port: int, answered_by: str = "192.0.2.10") -> Flow:
    """A client's flow to the host."""
    client, answering = ip_address("192.0.2.9"), ip_address(answered_by)
    return Flow(17, client, ADDRESSES[2], port, answering, client, to_host=True)


def test_an_unpublish_that_was_cut_off_leaves_no_flow_that_goes_on(site: Site) -> None:
    """The daemon was killed after it had struck the binding out of the record."""
    site.web()
    kept = [each.binding for each in site.publish("53:53/udp").ports]
    stray = [each.binding for each in site.publish("54:54/udp").ports]
    site.conntrack.flows = [
        replace(datagrams(each, "10.87.0.2"), answering_port=each) for each in (53, 54)
    ]
    site.store.record(removed=stray, at=site.clock.now())
    assert site.restart() == Return()
    assert [each.port for each in site.conntrack.flows] == [53]
    assert site.registry.engine.published() == kept


def test_a_new_endpoint_gets_nothing_of_what_its_address_had_before(site: Site) -> None:
    site.registry.create_network(NetworkRequest("lab"))
    site.conntrack.flows = [datagrams(53, "10.87.0.2"), datagrams(53, "10.87.0.3")]
    endpoint = site.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
    assert str(endpoint.ipv4) == "10.87.0.2"
    assert site.conntrack.flows == [datagrams(53, "10.87.0.3")]


def test_an_unpublish_that_can_not_be_recorded_changes_nothing_and_may_be_tried_again(
    site: Site,
) -> None:
    site.web()
    site.publish("8080:80")
    before = site.dump()
    site.faults.failing = {"store.record": [1 + site.faults.calls.count("store.record")]}
    with pytest.raises(HostportsError, match="injected"):
        site.registry.unpublish("web")
    assert site.dump() == before
    assert len(site.registry.unpublish("web")) == 2
    assert site.registry.ports() == []


def test_a_daemon_that_was_killed_in_the_middle_of_a_removal_can_finish_it(site: Site) -> None:
    """The record is struck out last, so the next life knows of what is left."""
    empty = site.dump()
    site.web()
    site.links.detach(site.registry.endpoint("web"))
    site.links.remove_bridge(site.registry.network("lab"))
    assert site.restart() == Return()
    site.registry.remove_network("lab", force=True)
    assert site.dump() == empty


def test_a_removal_that_can_not_be_recorded_may_be_tried_again(site: Site) -> None:
    empty = site.dump()
    site.web()
    site.faults.failing = {"store.record": [EVERY]}
    with pytest.raises(ReleaseFailed, match="injected"):
        site.registry.remove_network("lab", force=True)
    site.faults.failing = {}
    site.registry.remove_network("lab", force=True)
    assert site.dump() == empty


def test_what_has_ports_that_can_not_be_struck_out_stays_whole(site: Site) -> None:
    site.web()
    site.publish("8080:80")
    before = site.dump()
    for remove in (
        partial(site.registry.remove_endpoint, "web"),
        partial(site.registry.remove_network, "lab", force=True),
    ):
        site.faults.failing = {"store.record": [1 + site.faults.calls.count("store.record")]}
        with pytest.raises(HostportsError, match="injected"):
            remove()
        assert site.dump() == before


def test_a_namespace_that_goes_by_a_process_is_not_attached_again(site: Site) -> None:
    """Its number may be another process's after a restart."""
    site.registry.create_network(NetworkRequest("lab"))
    site.registry.add_endpoint(EndpointRequest("lab", "web", "/proc/812/ns/net"))
    rebooted = Site()
    rebooted.store = site.store
    (failure,) = rebooted.restart().failures
    assert "another process" in str(failure)
    assert not any("cable" in line for line in rebooted.links.dump())

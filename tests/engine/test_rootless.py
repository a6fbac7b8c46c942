"""Inside RootlessKit a port is published when RootlessKit forwards it; also after a restart."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from hostports import Protocol, ProxyProtocol, PublishRequest, parse_spec
from hostports.engine.restart import Return, serve_again
from hostports.errors import ReleaseFailed, UnusableValue
from hostports.model.host import PortDriverInfo
from hostports.model.port import SocketAddress
from hostports.testing import EVERY, FakePortDriver, Faults
from tests.engine.conftest import BUILTIN, DUAL, World
from tests.engine.test_registry import Site, kill_relay

SLIRP = PortDriverInfo(
    "slirp4netns",
    frozenset({"tcp4", "udp4"}),
    disallows_loopback_child_ip=True,
    child_ip=ip_address("192.0.2.10"),
)


@pytest.fixture
def site() -> Site:
    """A daemon inside RootlessKit, with an endpoint that has a port on two addresses."""
    faults = Faults()
    site = Site(faults=faults, driver=FakePortDriver(BUILTIN, faults))
    site.web()
    site.publish("192.0.2.10:8080:80", "192.0.2.11:8080:81", "53:53/udp")
    return site


def seen(site: Site) -> dict[str, object]:
    """Everything that is somewhere, and must agree."""
    assert site.driver
    return {
        "forwardings": site.driver.dump(),
        "relay": site.relay.dump(),
        "firewall": site.firewall.dump(),
        "record": set(site.store.load().bindings),
        "published": set(site.registry.engine.published()),
    }


def agreeing(site: Site) -> dict[str, object]:
    """The same, where record, relay, RootlessKit and engine speak of the same bindings."""
    assert site.driver
    now = seen(site)
    bindings = site.registry.engine.published()
    assert now["record"] == now["published"]
    assert {each.binding for each in site.relay.held()} == set(bindings)
    assert site.driver.forwardings() == {each.host_socket: each.child for each in bindings}
    nat = [line for line in site.firewall.dump() if line.startswith("dnat")]
    assert nat == sorted(f"dnat {each.socket} to {each}" for each in bindings)
    return now


def calls(site: Site) -> int:
    return sum(call.startswith("port_driver.") for call in site.faults.calls)


def test_a_daemon_that_starts_again_leaves_forwardings_alone(site: Site) -> None:
    before, asked = agreeing(site), calls(site)
    assert site.restart() == Return()
    assert agreeing(site) == before
    assert calls(site) == asked


def test_a_forwarding_that_nobody_wants_goes(site: Site) -> None:
    """A daemon was killed after it asked for it, or before it ended it."""
    assert site.driver
    before = agreeing(site)
    stray = SocketAddress(Protocol.TCP, ip_address("192.0.2.10"), 9000)
    site.driver.add(stray, replace(stray, ip=ip_address("127.0.0.1")))
    assert site.restart() == Return()
    assert agreeing(site) == before


def test_a_forwarding_that_is_missing_or_leads_elsewhere_is_made_again(site: Site) -> None:
    assert site.driver
    agreeing(site)
    gone, bent = list(site.driver.forwardings())[:2]
    site.driver.remove(gone)
    site.driver.remove(bent)
    site.driver.add(bent, replace(bent, ip=ip_address("127.0.0.1"), port=1))
    assert site.restart() == Return()
    assert {gone, bent} < {each.host_socket for each in site.registry.engine.published()}
    agreeing(site)


def test_a_new_relay_gets_the_same_forwardings(site: Site) -> None:
    before = site.driver and site.driver.forwardings().keys()
    kill_relay(site)
    serve_again(site.registry, site.store.load())
    agreeing(site)
    assert site.driver
    assert site.driver.forwardings().keys() == before


def test_another_rootlesskit_with_another_driver_forwards_the_same_ports(site: Site) -> None:
    """Its child address is another, so rules, record and relay are to follow."""
    parents = site.driver and site.driver.forwardings().keys()
    kill_relay(site)
    site.driver = FakePortDriver(replace(SLIRP, protocols=BUILTIN.protocols))
    assert site.restart() == Return()
    agreeing(site)
    assert site.driver.forwardings().keys() == parents
    assert {str(each.ip) for each in site.driver.forwardings().values()} == {"192.0.2.10"}


def test_what_the_new_driver_can_not_forward_is_lost_with_the_reason(site: Site) -> None:
    kill_relay(site)
    site.driver = FakePortDriver(SLIRP)
    returned = site.restart()
    assert [str(each.binding.host_socket) for each in returned.lost] == ["[::]:53/udp"]
    assert "port driver 'slirp4netns' can't forward" in str(returned.lost[0].error)


@pytest.mark.parametrize("now_inside", [True, False])
def test_a_daemon_that_is_told_to_use_rootlesskit_or_not_any_more_does_so(
    *, now_inside: bool
) -> None:
    driver = FakePortDriver(BUILTIN)
    site = Site(driver=None if now_inside else driver)
    site.web()
    site.publish("192.0.2.10:8080:80")
    site.driver = driver if now_inside else None
    assert site.restart() == Return()
    (binding,) = site.registry.engine.published()
    assert (binding.child is not None) is now_inside
    if now_inside:
        agreeing(site)


def test_a_port_that_rootlesskit_can_not_have_back_is_lost_and_the_others_are_not(
    site: Site,
) -> None:
    assert site.driver
    taken, *others = site.driver.forwardings()
    for each in (taken, *others):
        site.driver.remove(each)
    site.driver.busy.add(taken)
    returned = site.restart()
    assert [each.binding.host_socket for each in returned.lost] == [taken]
    assert set(site.driver.forwardings()) == set(others)
    assert len(site.relay.held()) == len(others)


def test_a_release_goes_on_without_rootlesskit_and_says_so(site: Site) -> None:
    site.faults.failing = {"port_driver.remove": [EVERY]}
    with pytest.raises(ReleaseFailed, match="injected: the port driver can't end"):
        site.registry.unpublish("web")
    assert site.relay.held() == []
    assert site.registry.engine.published() == []


@pytest.mark.parametrize(
    "asked",
    [{"allow_from": (ip_network("192.0.2.0/24"),)}, {"proxy_protocol": ProxyProtocol.V2}],
    ids=list[str],
)
def test_a_driver_that_hides_clients_is_no_place_to_tell_them_apart(asked: Any) -> None:  # noqa: ANN401 - any field
    """Behind it all have one address, 127.0.0.1: that allowed, everybody would be."""
    hiding = World(driver_info=replace(BUILTIN, hides_clients=True))
    with pytest.raises(UnusableValue, match="'builtin' hides who a client is"):
        hiding.engine.publish(PublishRequest(DUAL, parse_spec("8080:80"), **asked))
    World(driver_info=BUILTIN).engine.publish(PublishRequest(DUAL, parse_spec("8080:80"), **asked))

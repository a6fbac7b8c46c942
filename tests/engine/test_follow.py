"""A registry whose ports follow an interface: nothing half done, whatever fails, and when."""

from ipaddress import ip_address

import pytest

from hostports import GatewayMode, parse_spec
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.engine.follow import Followed, follow
from hostports.engine.registry import PortsRequest
from hostports.errors import HostPortInUse, HostportsError, NoAddressToFollow, NotFound
from hostports.model.host import InterfaceAddress
from hostports.testing import EVERY
from tests.engine.test_registry import ADDRESSES, NETNS, Site

#: Of `ADDRESSES`, so that they can be bound.
ONE, OTHER, SIX = map(str, (ADDRESSES[2], ADDRESSES[0], ADDRESSES[1]))


class Followers(Site):
    """A host whose eth0 has whatever addresses a test wants."""

    def has(self, *ips: str) -> Followed:
        """Give eth0 these addresses and no others, and look."""
        self.gives(*ips)
        return follow(self.registry)

    def gives(self, *ips: str) -> None:
        self.facts.interfaces["eth0"] = [InterfaceAddress(ip_address(each)) for each in ips]

    def has_only_six(self) -> None:
        self.has(SIX)

    def regained(self) -> None:
        assert [str(each.host_ip) for each in self.registry.regain()] == [ONE]

    def there(self) -> list[str]:
        return [str(each.host_socket) for each in self.registry.engine.published()]


@pytest.fixture
def site() -> Followers:
    made = Followers()
    made.web()
    made.gives(ONE)
    made.publish("eth0:8080:80")
    return made


def sockets(*ips: str) -> list[str]:
    return [f"{ip}:8080/tcp" for ip in ips]


def test_addresses_that_come_are_published_on_and_those_that_go_are_not(site: Followers) -> None:
    before = site.dump()
    followed = site.has(ONE, OTHER, SIX)
    assert site.there() == sockets(ONE, OTHER, f"[{SIX}]")
    assert (len(followed.published), len(followed.unpublished)) == (2, 0)
    followed = site.has(ONE)
    assert (len(followed.published), len(followed.unpublished)) == (0, 2)
    assert site.dump() == before
    assert site.has(ONE) == Followed()


def test_an_interface_that_goes_and_comes_back_has_the_same_port(site: Followers) -> None:
    before = site.dump()
    site.facts.interfaces.clear()
    follow(site.registry)
    assert site.there() == []
    assert site.store.dump()[-1] == "following eth0:8080:80/tcp of web"
    site.has(ONE)
    assert site.dump() == before


def test_a_dynamic_port_is_the_one_that_was_found_first(site: Followers) -> None:
    (port,) = site.publish("eth0::81").ports
    site.has()
    site.has(OTHER)
    assert f"{OTHER}:{port.binding.host_port}/tcp" in site.there()


def test_without_a_change_or_anything_followed_nothing_is_asked(site: Followers) -> None:
    site.registry.unpublish("web")
    site.faults.failing = {"facts.addresses": [EVERY]}
    assert follow(site.registry) == Followed()


def test_what_is_unpublished_is_followed_no_longer_also_without_an_address(
    site: Followers,
) -> None:
    site.has()
    assert site.registry.unpublish("web", parse_spec("eth0:8080:80")) == []
    assert site.has(ONE) == Followed()
    with pytest.raises(NotFound):
        site.registry.unpublish("web", parse_spec("eth0:8080:80"))


def test_unpublishing_one_interface_leaves_the_other_its_address(site: Followers) -> None:
    site.facts.interfaces["eth1"] = [InterfaceAddress(ip_address(OTHER))]
    site.publish("eth1:8080:80")
    site.registry.unpublish("web", parse_spec("eth0:8080:80"))
    assert site.there() == sockets(OTHER)
    site.registry.remove_endpoint("web")
    assert site.registry.followings() == []
    assert site.store.dump() == ["network lab"]


def test_an_endpoint_that_is_gone_is_followed_for_no_longer_whatever_failed(
    site: Followers,
) -> None:
    site.faults.failing = {"relay.remove": [EVERY], "links.detach": [EVERY]}
    with pytest.raises(HostportsError):
        site.registry.remove_endpoint("web")
    assert (site.registry.endpoints(), site.registry.followings()) == ([], [])
    assert site.has(ONE, OTHER) == Followed()


def test_a_port_that_is_held_on_a_new_address_is_lost_and_regained_or_goes_with_it(
    site: Followers,
) -> None:
    site.registry.unpublish("web")
    site.gives(SIX)
    site.publish("eth0:8080:80")
    for end in (site.regained, site.has_only_six):
        site.occupy(8080)
        followed = site.has(SIX, ONE)
        (lost,) = followed.lost
        assert isinstance(lost.error, HostPortInUse)
        assert len(followed.published) == 0
        assert site.there() == sockets(f"[{SIX}]")
        assert site.has(SIX, ONE).lost == ()
        site.free()
        end()
        site.has(SIX)
        assert site.registry.lost == []
        assert site.there() == sockets(f"[{SIX}]")


@pytest.mark.parametrize("call", ["store.record", "firewall.apply", "relay.add", "facts.addresses"])
def test_what_fails_is_done_by_the_next_look(site: Followers, call: str) -> None:
    before = site.dump()
    site.faults.failing = {call: [site.faults.calls.count(call) + 1]}
    (failure,) = site.has(ONE, OTHER).failures
    assert "injected" in str(failure)
    assert site.dump() == before
    assert site.has(ONE, OTHER).lost == ()
    assert site.there() == sockets(ONE, OTHER)


def test_what_can_not_be_given_up_is_told_and_does_not_keep_others_from_coming(
    site: Followers,
) -> None:
    site.faults.failing = {"relay.remove": [EVERY]}
    followed = site.has(OTHER)
    assert ["injected" in str(each) for each in followed.failures] == [True]
    assert site.there() == sockets(OTHER)


def test_what_went_is_told_also_if_what_comes_fails(site: Followers) -> None:
    site.faults.failing = {"relay.add": [EVERY]}
    followed = site.has(OTHER)
    assert (len(followed.unpublished), followed.published) == (1, ())
    assert len(followed.failures) == 1
    assert site.there() == []
    site.faults.failing = {}
    assert len(site.has(OTHER).published) == 1


def test_an_address_that_was_asked_for_by_itself_too_is_followed_when_it_is_unpublished(
    site: Followers,
) -> None:
    site.publish(f"{OTHER}:8080:80")
    assert site.has(ONE, OTHER) == Followed()
    site.registry.unpublish("web", parse_spec(f"{OTHER}:8080:80"))
    assert site.there() == sockets(ONE)
    assert len(site.has(ONE, OTHER).published) == 1


def test_where_addresses_are_those_of_before_nothing_is_worked_out_anew(site: Followers) -> None:
    site.has(ONE, OTHER)
    looked = site.registry.looked
    assert looked is not None
    site.has(ONE, OTHER)
    assert site.registry.looked is looked


def test_what_fails_to_be_unpublished_is_still_followed_and_recorded(site: Followers) -> None:
    before = site.dump()
    site.faults.failing = {"store.record": [site.faults.calls.count("store.record") + 1]}
    with pytest.raises(HostportsError, match="injected"):
        site.registry.unpublish("web")
    assert site.dump() == before
    assert len(site.registry.followings()) == 1
    site.has()
    assert site.there() == []


@pytest.mark.parametrize("text", ["eth0:8080:80", f"{ONE}:8080:80"])
def test_a_lost_address_that_is_published_again_is_wanted_as_it_was_asked_for(
    site: Followers, text: str
) -> None:
    site.has()
    site.occupy(8080)
    assert len(site.has(ONE).lost) == 1
    site.free()
    site.publish(text)
    assert site.registry.lost == []
    site.restart()
    assert site.there() == sockets(ONE)
    (binding,) = site.registry.engine.published()
    assert binding.interface == ("eth0" if "eth0" in text else "")


@pytest.mark.parametrize("call", ["firewall.apply", "sockets.listen", "relay.add"])
def test_a_publication_that_fails_takes_nothing_that_was_wanted_out_of_the_record(
    site: Followers, call: str
) -> None:
    site.has()
    site.occupy(8080)
    site.has(ONE)
    site.free()
    before = site.store.dump()
    site.faults.failing = {call: [site.faults.calls.count(call) + 1]}
    with pytest.raises(HostportsError):
        site.publish("eth0:8080:80")
    assert site.store.dump() == before
    assert [str(each.host_ip) for each in site.registry.regain()] == [ONE]


@pytest.mark.parametrize(
    "call", ["store.record", "firewall.apply", "sockets.reserve", "sockets.listen", "relay.add"]
)
def test_a_publication_that_fails_follows_nothing(call: str) -> None:
    site = Followers()
    site.web()
    site.gives(ONE)
    before = site.dump()
    site.faults.failing = {call: [site.faults.calls.count(call) + 1]}
    with pytest.raises(HostportsError):
        site.publish("eth0:8080:80")
    assert site.dump() == before
    assert site.registry.followings() == []


def test_a_start_catches_up_with_what_changed_meanwhile(site: Followers) -> None:
    site.gives(OTHER, SIX)
    returned = site.restart()
    assert (returned.lost, returned.failures) == ((), ())
    assert site.there() == sockets(OTHER, f"[{SIX}]")
    assert site.relay.dump() == sorted(map(str, site.registry.engine.published()))
    assert [each.interface for each in site.registry.engine.published()] == ["eth0", "eth0"]
    site.registry.unpublish("web", parse_spec("eth0:8080:80"))
    site.restart()
    assert site.there() == []


def test_a_start_that_can_not_see_the_addresses_keeps_what_was_there(site: Followers) -> None:
    site.faults.failing = {"facts.addresses": [EVERY]}
    assert [str(each) for each in site.restart().failures] == [
        "injected: the addresses of 'eth0' can't be read"
    ]
    assert site.there() == sockets(ONE)


def test_an_address_to_follow_is_needed_to_begin_with(site: Followers) -> None:
    before = site.dump()
    with pytest.raises(NoAddressToFollow, match="this host has no interface 'eth9'"):
        site.publish("8081:80", "eth9:8082:80")
    assert site.dump() == before


def routed(*, ipv4: GatewayMode = GatewayMode.ROUTED) -> Followers:
    """A host with an endpoint whose network is routed."""
    site = Followers()
    network = NetworkRequest("lab", gateway_mode_ipv4=ipv4, gateway_mode_ipv6=GatewayMode.ROUTED)
    site.registry.create_network(network)
    site.registry.add_endpoint(EndpointRequest("lab", "web", NETNS))
    return site


def test_a_routed_endpoint_follows_nothing_whatever_others_follow() -> None:
    site = routed()
    published = site.publish("eth0:8080:80")
    assert {each.binding.host_port for each in published.ports} == {0}
    assert any("are ignored" in each for each in published.warnings)
    assert site.registry.followings() == []
    site.registry.create_network(NetworkRequest("other"))
    site.registry.add_endpoint(EndpointRequest("other", "app", "/run/netns/app"))
    site.gives(ONE)
    site.registry.publish(PortsRequest("app", parse_spec("eth0:8081:80")))
    assert site.has(OTHER, SIX).unpublished != ()
    assert len(site.registry.engine.published("web")) == 2
    assert site.registry.unpublish("web", parse_spec("eth0:8080:80"))


def test_an_address_to_follow_is_needed_for_each_spec_that_has_a_host_port() -> None:
    site = routed(ipv4=GatewayMode.NAT)
    site.gives(SIX)
    with pytest.raises(NoAddressToFollow, match="has no address that can lead to endpoint 'web'"):
        site.publish("eth0:8080:80")
    site.gives(ONE, SIX)
    site.publish("eth0:8080:80")
    site.has(OTHER)
    assert site.there() == ["[::]:0/tcp", f"{OTHER}:8080/tcp"]

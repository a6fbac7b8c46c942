from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from hostports import (
    BridgeNetwork,
    GatewayMode,
    ProxyProtocol,
    PublishMode,
    PublishRequest,
    parse_spec,
)
from hostports.errors import (
    AddressNotOnHost,
    AddressOfLink,
    FirewallFailed,
    HostPortInUse,
    NoPortFree,
    PortAskedTwice,
    PortDriverConflict,
    PortDriverFailed,
    PortPublished,
    UnusableValue,
)
from hostports.model.host import Host, PortDriverInfo
from hostports.model.port import PortRange, Protocol, SocketAddress
from tests.engine.conftest import BUILTIN, DUAL, World

ROUTED = replace(DUAL, network=BridgeNetwork("lab", GatewayMode.ROUTED, GatewayMode.ROUTED))


def texts(bindings: object) -> list[str]:
    assert isinstance(bindings, (list, tuple))
    return [str(binding) for binding in bindings]


def test_a_dynamic_port_is_the_same_for_ipv4_and_ipv6(world: World) -> None:
    """A client that resolves to either family finds one published port."""
    assert texts(world.publish("80").bindings) == [
        "0.0.0.0:49200:172.19.0.2:80/tcp",
        "[::]:49200:[fd00::2]:80/tcp",
    ]


def test_what_is_published_is_relayed_and_open_and_no_socket_stays_with_us(world: World) -> None:
    world.publish("8080:80")
    assert world.sockets.dump() == []
    assert world.relay.dump() == [
        "0.0.0.0:8080:172.19.0.2:80/tcp",
        "[::]:8080:[fd00::2]:80/tcp",
    ]
    assert world.firewall.dump() == [
        "dnat 0.0.0.0:8080/tcp to 0.0.0.0:8080:172.19.0.2:80/tcp",
        "dnat [::]:8080/tcp to [::]:8080:[fd00::2]:80/tcp",
        "accept 172.19.0.2:80/tcp",
        "accept [fd00::2]:80/tcp",
    ]


def test_a_port_with_the_proxy_protocol_is_published_by_the_relay_alone(world: World) -> None:
    request = PublishRequest(DUAL, parse_spec("8080:80"), proxy_protocol=ProxyProtocol.V2)
    bindings = world.engine.publish(request).bindings
    assert {(each.mode, each.proxy_protocol) for each in bindings} == {
        (PublishMode.RELAY, ProxyProtocol.V2)
    }
    assert world.relay.dump() == texts(bindings)


def test_the_proxy_protocol_for_udp_is_refused_before_anything_is_touched(world: World) -> None:
    specs = [*parse_spec("8080:80"), *parse_spec("53:53/udp")]
    with pytest.raises(UnusableValue, match="for TCP only"):
        world.engine.publish(PublishRequest(DUAL, specs, proxy_protocol=ProxyProtocol.V2))
    assert world.faults.calls == []


def test_without_a_relay_a_listening_socket_shows_that_the_port_is_taken() -> None:
    world = World(relayed=False)
    world.publish("8080:80")
    assert [(str(held.address), held.listening) for held in world.sockets.dump()] == [
        ("0.0.0.0:8080/tcp", True),
        ("[::]:8080/tcp", True),
    ]


def test_one_request_is_one_firewall_transaction(world: World) -> None:
    world.publish("8080-8089:80-89", "53:53/udp")
    assert world.faults.calls.count("firewall.apply") == 1


def test_unpublishing_one_host_port_leaves_the_other_to_the_same_container_port(
    world: World,
) -> None:
    first = world.publish("8080:80").bindings
    world.publish("8081:80")
    world.engine.unpublish(first)
    assert "accept 172.19.0.2:80/tcp" in world.firewall.dump()


def test_a_port_that_another_process_holds_is_passed_over(world: World) -> None:
    world.occupy(49200)
    world.occupy(49201)
    assert world.publish("80").bindings[0].host_port == 49202


def test_a_range_is_tried_to_its_end(world: World) -> None:
    """moby 28.5 gives up after ten ports although six are free."""
    for port in range(8000, 8015):
        world.occupy(port)
    assert world.publish("8000-8015:80").bindings[0].host_port == 8015


def test_an_exhausted_range_names_the_range_and_a_holder(world: World) -> None:
    world.occupy(8000)
    world.occupy(8001)
    with pytest.raises(NoPortFree) as caught:
        world.publish("8000-8001:80")
    assert str(caught.value) == (
        "no host port of 8000-8001/tcp is free on 0.0.0.0 and [::]: "
        "0.0.0.0:8001/tcp is held by another process; "
        "publish from a larger range, or unpublish a port of this one"
    )


def test_a_dynamic_port_is_never_one_that_the_kernel_reserves(world: World) -> None:
    world.facts.host = replace(world.facts.host, reserved_ports=frozenset({49200, 49202}))
    assert [world.publish("80").bindings[0].host_port for _ in range(2)] == [49201, 49203]
    assert world.publish("49202:81").bindings[0].host_port == 49202


def test_the_host_is_looked_at_anew_for_each_request(world: World) -> None:
    world.facts.host = Host(listens_on_ipv6=False, dynamic_ports=PortRange(50000, 50009))
    assert texts(world.publish("80").bindings) == ["0.0.0.0:50000:172.19.0.2:80/tcp"]
    world.facts.host = Host(dynamic_ports=PortRange(51000, 51009))
    assert [each.host_port for each in world.publish("81").bindings] == [51000, 51000]


def test_an_exact_port_that_is_in_use_is_a_conflict_and_nothing_else_is_tried(
    world: World,
) -> None:
    world.occupy(8080)
    with pytest.raises(HostPortInUse) as caught:
        world.publish("8080:80")
    assert str(caught.value) == (
        "0.0.0.0:8080/tcp is held by another process; publish another port or stop it"
    )
    assert world.faults.calls.count("sockets.reserve") == 1


def test_an_exact_port_of_ours_is_a_conflict_that_names_the_endpoint(world: World) -> None:
    world.publish("192.0.2.10:8080:80")
    with pytest.raises(PortPublished, match=r"192\.0\.2\.10:8080/tcp is published by .*'web'"):
        world.publish("8080:81")


@pytest.mark.parametrize(
    "specs",
    [
        ("8084:80", "8084:81"),
        ("192.0.2.10:8084:80", "8084:81"),
        ("8083-8085:80-82", "8084:90"),
    ],
)
def test_one_host_port_for_two_container_ports_is_not_said_to_be_published(
    world: World, specs: tuple[str, ...]
) -> None:
    said = r"8084/tcp is asked for twice, for container ports 8. and .*; give each its own"
    with pytest.raises(PortAskedTwice, match=said):
        world.publish(*specs)
    assert world.engine.published() == []


def test_an_address_that_is_not_on_the_host_is_tried_once(world: World) -> None:
    with pytest.raises(AddressNotOnHost):
        world.publish("203.0.113.99::80")
    assert world.faults.calls.count("sockets.reserve") == 1


def test_a_failing_firewall_is_asked_once() -> None:
    """No other port can help; moby 28.5 asks ten times."""
    world = World(failing={"firewall.apply": [1]})
    with pytest.raises(FirewallFailed):
        world.publish("80")
    assert world.faults.calls.count("firewall.apply") == 1


def test_a_routed_port_takes_no_host_port_and_no_socket(world: World) -> None:
    publication = world.publish("8080:80", endpoint=ROUTED)
    assert texts(publication.bindings) == [
        "0.0.0.0::172.19.0.2:80/tcp",
        "[::]::[fd00::2]:80/tcp",
    ]
    assert world.relay.dump() == []
    assert world.engine.book.host.dump() == {}


def test_a_failed_request_does_not_close_a_routed_port_that_an_earlier_one_opened() -> None:
    world = World(failing={"relay.add": [1]})
    half = replace(DUAL, network=BridgeNetwork("lab", gateway_mode_ipv6=GatewayMode.ROUTED))
    world.publish("[::]::80", endpoint=half)
    opened = world.firewall.dump()
    with pytest.raises(Exception, match="injected"):
        world.publish("8080:80", endpoint=half)
    assert world.firewall.dump() == opened


def test_a_port_taken_between_bind_and_listen_is_exchanged_for_another(world: World) -> None:
    """Both sockets may bind with SO_REUSEADDR; whoever listens first has the port."""
    thief = world.kernel.open(Protocol.TCP, IPv4Address("0.0.0.0"), 49200, reuseaddr=True)
    world.firewall.meanwhile = lambda: world.kernel.listen(thief)
    assert world.publish("80").bindings[0].host_port == 49201
    assert all("49200" not in line for line in world.firewall.dump())


def test_an_exact_port_taken_between_bind_and_listen_is_a_conflict(world: World) -> None:
    thief = world.kernel.open(Protocol.TCP, IPv4Address("0.0.0.0"), 8080, reuseaddr=True)
    world.firewall.meanwhile = lambda: world.kernel.listen(thief)
    with pytest.raises(HostPortInUse):
        world.publish("8080:80")
    assert world.firewall.dump() == []


def test_rootlesskit_forwards_the_host_port_to_a_loopback_child() -> None:
    world = World(driver_info=BUILTIN)
    (binding,) = world.publish("192.0.2.10:8080:80").bindings
    assert binding.child == SocketAddress(Protocol.TCP, ip_address("127.0.0.1"), 8080)
    assert world.driver
    assert world.driver.dump() == ["192.0.2.10:8080/tcp -> 127.0.0.1:8080/tcp"]
    assert world.firewall.dump()[0].startswith("dnat 127.0.0.1:8080/tcp")


def test_two_host_addresses_have_one_port_behind_rootlesskit() -> None:
    """They share one child address, so one of them needs another port there."""
    world = World(driver_info=BUILTIN)
    world.publish("192.0.2.10:8080:80")
    (binding,) = world.publish("192.0.2.11:8080:80", endpoint=replace(DUAL, name="db")).bindings
    assert (binding.host_port, binding.child and binding.child.port) == (8080, 49200)


def test_a_conflict_in_the_parent_namespace_leads_to_another_port_ten_times() -> None:
    world = World(driver_info=BUILTIN)
    assert world.driver
    host = ip_address("192.0.2.10")
    world.driver.busy = {SocketAddress(Protocol.TCP, host, port) for port in range(8000, 8009)}
    assert world.publish("192.0.2.10:8000-8015:80").bindings[0].host_port == 8009
    world.driver.busy = {SocketAddress(Protocol.TCP, host, port) for port in range(9000, 9010)}
    with pytest.raises(PortDriverConflict):
        world.publish("192.0.2.10:9000-9015:80")
    assert world.faults.calls.count("port_driver.add") == 20


def test_another_failure_of_rootlesskit_is_final() -> None:
    world = World(driver_info=BUILTIN, failing={"port_driver.add": [1]})
    with pytest.raises(PortDriverFailed):
        world.publish("80")
    assert world.faults.calls.count("port_driver.add") == 1


def test_a_port_driver_without_a_child_address_is_refused_at_start() -> None:
    with pytest.raises(UnusableValue, match="no other child address"):
        PortDriverInfo("slirp4netns", disallows_loopback_child_ip=True, network_driver="vpnkit")


def test_an_attempt_that_leaves_something_behind_is_the_last() -> None:
    """What could not be undone must be told, not tried over."""
    world = World(driver_info=BUILTIN, failing={"port_driver.remove": [1]})
    assert world.driver
    world.driver.busy = {SocketAddress(Protocol.TCP, ip_address("::"), 49200)}
    with pytest.raises(PortDriverConflict) as caught:
        world.publish("80")
    assert caught.value.__notes__ == [
        "while undoing: injected: the port driver can't end 0.0.0.0:49200/tcp"
    ]


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ("8080:80", HostPortInUse),
        ("8080-8080:80", HostPortInUse),
        ("203.0.113.99:81:80", AddressNotOnHost),
        ("[fe80::1]:81:80", AddressOfLink),
    ],
)
def test_a_plan_is_refused_where_publish_is(
    world: World, spec: str, refusal: type[Exception]
) -> None:
    world.occupy(8080)
    before = world.dump()
    with pytest.raises(refusal):
        world.engine.plan(PublishRequest(DUAL, parse_spec(spec)))
    assert world.dump() == before


def test_a_plan_tells_rootlesskit_nothing() -> None:
    world = World(driver_info=BUILTIN)
    planned = world.engine.plan(PublishRequest(DUAL, parse_spec("8080:80")))
    assert "port_driver.add" not in world.faults.calls
    assert all(each.child for each in planned.bindings)


def test_a_plan_is_what_publish_does(world: World) -> None:
    request = PublishRequest(DUAL, [*parse_spec("80-89"), *parse_spec("8080:80")])
    planned = world.engine.plan(request)
    assert world.dump()["host ports"] == {}
    assert world.engine.publish(request).bindings == planned.bindings
    assert texts(planned.sockets)[:2] == ["0.0.0.0:8080/tcp", "[::]:8080/tcp"]

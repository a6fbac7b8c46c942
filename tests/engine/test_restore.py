from dataclasses import replace

import pytest

from hostports import BridgeNetwork, GatewayMode, ProxyProtocol, PublishRequest, parse_spec
from hostports.errors import FirewallFailed, HostPortInUse, NotRestorable, UnusableValue
from hostports.model.port import PortBinding
from tests.engine.conftest import DUAL, World

ROUTED = replace(DUAL, network=BridgeNetwork("lab", GatewayMode.ROUTED, GatewayMode.ROUTED))
SPECS = ("8080:80", "9000-9009:81", "82", "53:53/udp")


def test_bindings_come_back_with_their_exact_ports(world: World) -> None:
    earlier = World()
    earlier.publish("82")
    bindings = earlier.publish(*SPECS).bindings
    restoration = world.engine.restore(DUAL, bindings)
    assert (restoration.bindings, restoration.lost) == (bindings, ())
    assert world.engine.published() == list(bindings)
    assert world.faults.calls.count("firewall.apply") == 1


def test_a_lost_port_takes_no_other_with_it(world: World) -> None:
    """moby 28.5 gives up all ports of the container."""
    bindings = World().publish(*SPECS).bindings
    world.occupy(8080)
    restoration = world.engine.restore(DUAL, bindings)
    assert [str(lost.binding) for lost in restoration.lost] == ["0.0.0.0:8080:172.19.0.2:80/tcp"]
    assert isinstance(restoration.lost[0].error, HostPortInUse)
    assert len(restoration.bindings) == len(bindings) - 1


def test_a_port_taken_between_bind_and_listen_is_lost_and_closed_again(world: World) -> None:
    bindings = World().publish("8080:80", "8081:81").bindings
    thief = world.kernel.open(
        bindings[0].protocol, bindings[0].host_ip, bindings[0].host_port, reuseaddr=True
    )
    world.firewall.meanwhile = lambda: None if thief.listening else world.kernel.listen(thief)
    restoration = world.engine.restore(DUAL, bindings)
    assert [lost.binding for lost in restoration.lost] == [bindings[0]]
    assert restoration.bindings == bindings[1:]
    assert not any(line.startswith("dnat 0.0.0.0:8080/tcp") for line in world.firewall.dump())


def test_a_routed_binding_does_not_come_back_as_a_dynamic_port(world: World) -> None:
    """moby 28.5 would open a port that nobody asked for."""
    bindings = World().publish("8080:80", endpoint=ROUTED).bindings
    restoration = world.engine.restore(DUAL, bindings)
    assert restoration.bindings == ()
    assert [type(lost.error) for lost in restoration.lost] == [NotRestorable, NotRestorable]
    assert "is not routed now; publish it again with" in str(restoration.lost[0].error)


def test_a_binding_of_a_network_that_is_routed_now_comes_back_routed(world: World) -> None:
    bindings = World().publish("8080:80").bindings
    restoration = world.engine.restore(ROUTED, bindings)
    assert [str(each) for each in restoration.bindings] == [
        "0.0.0.0::172.19.0.2:80/tcp",
        "[::]::[fd00::2]:80/tcp",
    ]


def test_a_binding_to_an_address_that_the_endpoint_lost_is_lost(world: World) -> None:
    bindings = World(relayed=False).publish("8080:80").bindings
    without = replace(DUAL, ipv4=None)
    restoration = world.engine.restore(without, bindings)
    assert [lost.binding for lost in restoration.lost] == [bindings[0]]
    assert "has no address" in str(restoration.lost[0].error)


def with_proxy_protocol() -> tuple[PortBinding, ...]:
    request = PublishRequest(DUAL, parse_spec("8080:80"), proxy_protocol=ProxyProtocol.V2)
    return World().engine.publish(request).bindings


def test_the_proxy_protocol_comes_back_with_its_binding(world: World) -> None:
    bindings = with_proxy_protocol()
    restoration = world.engine.restore(DUAL, bindings)
    assert (restoration.bindings, restoration.lost) == (bindings, ())


def test_a_binding_with_the_proxy_protocol_is_lost_without_a_relay() -> None:
    bindings = with_proxy_protocol()
    restoration = World(relayed=False).engine.restore(DUAL, bindings)
    assert [lost.binding for lost in restoration.lost] == list(bindings)
    assert all(isinstance(lost.error, UnusableValue) for lost in restoration.lost)


def test_a_failing_firewall_leaves_nothing_of_a_restore() -> None:
    bindings = World().publish(*SPECS).bindings
    world = World(failing={"firewall.apply": [1]})
    before = world.dump()
    with pytest.raises(FirewallFailed):
        world.engine.restore(DUAL, bindings)
    assert world.dump() == before

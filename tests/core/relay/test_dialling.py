from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import assume, given

from hostports.core.relay.dialling import refuse_unfit
from hostports.errors import RelayFailed
from hostports.model.address import unmapped
from hostports.model.port import PortBinding, Protocol
from tests.strategies import port_bindings

WEB = PortBinding(
    "lab", "web", Protocol.TCP, ip_address("0.0.0.0"), 8080, ip_address("172.20.0.2"), 80
)


def refusal(binding: PortBinding) -> str:
    """The message that refuses a binding, empty if it isn't refused."""
    try:
        refuse_unfit(binding)
    except RelayFailed as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "container",
    ["172.20.0.2", "10.0.0.1", "169.254.1.1", "198.51.100.1", "fd00::2", "2001:db8::2"],
)
def test_any_address_that_a_container_may_have_is_dialled(container: str) -> None:
    assert refusal(replace(WEB, container_ip=ip_address(container))) == ""


@pytest.mark.parametrize(
    "container",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "224.0.0.1",
        "239.255.255.255",
        "::1",
        "::",
        "ff02::1",
    ],
)
def test_cve_2021_20199_the_hosts_own_services_are_never_dialled(container: str) -> None:
    binding = replace(WEB, container_ip=ip_address(container))
    assert refusal(binding) == (
        f"{binding} can't be relayed: {container} is no container's address; "
        "give the endpoint an address of its own"
    )


@pytest.mark.parametrize("container", ["127.0.0.1", "0.0.0.0", "224.0.0.1"])
def test_ipv6_is_no_way_round_to_the_hosts_ipv4_services(container: str) -> None:
    assert refusal(replace(WEB, container_ip=ip_address(f"::ffff:{container}")))


def test_a_routed_binding_has_no_port_to_be_relayed() -> None:
    routed = replace(WEB, host_port=0)
    assert refusal(routed) == (
        "0.0.0.0::172.20.0.2:80/tcp can't be relayed: it is routed and has no host port"
    )


@given(port_bindings())
def test_of_any_binding_only_address_and_host_port_count(binding: PortBinding) -> None:
    ip = unmapped(binding.container_ip)
    assume(not (ip.is_loopback or ip.is_unspecified or ip.is_multicast))
    assert bool(refusal(binding)) is (binding.host_port == 0)

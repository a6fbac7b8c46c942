import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.linux.facts import LinuxHostFacts, dynamic_ports, reserved_ports
from hostports.model.host import DEFAULT_DYNAMIC_PORTS
from hostports.model.port import PortRange, Protocol
from tests.netns.namespaces import namespace
from tests.strategies import port_ranges


@given(port_ranges())
def test_the_dynamic_range_is_read_as_the_kernel_writes_it(ports: PortRange) -> None:
    assert dynamic_ports(f"{ports.first}\t{ports.last}\n") == ports


def test_an_unreadable_dynamic_range_has_a_default() -> None:
    assert dynamic_ports("") == DEFAULT_DYNAMIC_PORTS


@given(st.lists(port_ranges(), max_size=4))
def test_reserved_ports_are_read_as_the_kernel_writes_them(ranges: list[PortRange]) -> None:
    text = ",".join(map(str, ranges)) + "\n"
    assert reserved_ports(text) == {port for each in ranges for port in each}


@pytest.mark.parametrize("ipv6", [True, False], ids=["ipv6", "no ipv6"])
def test_the_host_is_what_its_namespace_says_now(ipv6: bool) -> None:  # noqa: FBT001
    facts = LinuxHostFacts()
    with namespace(["127.0.0.1/8"], ipv6=ipv6) as host, host.entered():
        host.sysctl("net.ipv4.ip_local_port_range", "20000 20099")
        host.sysctl("net.ipv4.ip_local_reserved_ports", "20001,20003-20005")
        first = facts.read()
        host.sysctl("net.ipv4.ip_local_port_range", "30000 30099")
        second = facts.read()
    assert first.listens_on_ipv6 is ipv6
    assert first.dynamic_ports == PortRange(20000, 20099)
    assert first.reserved_ports == {20001, 20003, 20004, 20005}
    assert {Protocol.TCP, Protocol.UDP} <= set(first.protocols)
    assert second.dynamic_ports == PortRange(30000, 30099)

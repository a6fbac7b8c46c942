from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import BridgeNetwork, Endpoint, GatewayMode
from hostports.core.networks import (
    EndpointRequest,
    NetworkRequest,
    bridge_name,
    cable_name,
    decide_endpoint,
    decide_network,
)
from hostports.errors import NameTaken, NoAddressFree, UnusableValue
from hostports.model.address import Family, IPNetwork
from hostports.model.links import HostLinks, Interface

LAB = decide_network(NetworkRequest("lab"), [], HostLinks())
SMALL = decide_network(
    NetworkRequest("small", subnets=(ip_network("192.0.2.0/30"),)), [], HostLinks()
)


def host(*subnets: str, interface: str = "eth0") -> HostLinks:
    return HostLinks(interfaces={interface: Interface(tuple(map(ip_network, subnets)))})


def routed(*subnets: str) -> HostLinks:
    return HostLinks(routes=dict.fromkeys(map(ip_network, subnets), "tun0"))


def test_a_network_gets_a_private_subnet_of_each_family_and_a_bridge() -> None:
    assert LAB.bridge == "hp-lab"
    assert LAB.subnet_ipv4 == ip_network("10.87.0.0/24")
    assert LAB.subnet_ipv6
    assert (LAB.subnet_ipv6.prefixlen, LAB.subnet_ipv6.is_private) == (64, True)
    assert LAB.gateway(Family.IPV4) == ip_address("10.87.0.1")


@pytest.mark.parametrize(
    "links", [host("10.87.0.0/24"), routed("10.87.0.0/25"), host("10.87.0.128/32")]
)
def test_what_the_host_uses_is_passed_over(links: HostLinks) -> None:
    made = decide_network(NetworkRequest("lab"), [], links)
    assert made.subnet_ipv4 == ip_network("10.87.1.0/24")


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=8), unique=True, max_size=12))
def test_networks_never_overlap_whatever_their_names(names: list[str]) -> None:
    made: list[BridgeNetwork] = []
    for name in names:
        made.append(decide_network(NetworkRequest(name), made, HostLinks()))
    for of in Family:
        subnets = [str(each.subnet(of)) for each in made]
        assert len(set(subnets)) == len(names)
    assert len({each.bridge for each in made}) == len(names)


@given(st.text("abcxyz019_.-", min_size=1, max_size=40), st.text("abcxyz", min_size=1, max_size=40))
def test_names_of_interfaces_fit_and_differ(one: str, other: str) -> None:
    assert len(bridge_name(one)) <= 15
    assert len(cable_name(Endpoint(one, LAB))) <= 15
    assert (bridge_name(one) == bridge_name(other)) == (one == other)


def test_a_host_without_ipv6_gets_networks_without_it() -> None:
    made = decide_network(NetworkRequest("lab"), [], HostLinks(ipv6=False))
    assert made.subnet_ipv4
    assert made.subnet_ipv6 is None


def test_a_host_without_a_free_subnet_says_so() -> None:
    with pytest.raises(NoAddressFree, match="give one with --subnet"):
        decide_network(NetworkRequest("lab"), [], routed("10.0.0.0/8", "172.16.0.0/12"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (NetworkRequest("lab"), "network 'lab' is there already"),
        (NetworkRequest("other", bridge="hp-lab"), "bridge 'hp-lab' belongs to network 'lab'"),
        (
            NetworkRequest("other", subnets=(ip_network("10.87.0.0/16"),)),
            "subnet 10.87.0.0/16 overlaps with 10.87.0.0/24 of network 'lab'",
        ),
        (
            NetworkRequest("other", subnets=(ip_network("198.51.100.0/25"),)),
            "subnet 198.51.100.0/25 overlaps with 198.51.100.0/24 of interface 'eth0'",
        ),
        (NetworkRequest("other", bridge="eth0"), "interface 'eth0' is there already"),
    ],
)
def test_what_is_taken_is_refused_by_the_name_of_its_holder(
    request_: NetworkRequest, message: str
) -> None:
    with pytest.raises(NameTaken) as caught:
        decide_network(request_, [LAB], host("198.51.100.0/24"))
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("bridge", "mend"), [(True, "--existing-bridge"), (False, "--ports-only")], ids=str
)
def test_what_can_be_done_with_an_interface_that_is_there_depends_on_its_kind(
    bridge: bool,  # noqa: FBT001
    mend: str,
) -> None:
    links = HostLinks({"eth0": Interface(bridge=bridge)})
    with pytest.raises(NameTaken) as caught:
        decide_network(NetworkRequest("lab", bridge="eth0"), [], links)
    assert caught.value.hint.endswith(mend)


@pytest.mark.parametrize("subnets", [(), (ip_network("10.1.0.0/24"),)], ids=["no subnet", "subnet"])
def test_an_existing_interface_that_is_no_bridge_is_said_to_be_none(
    subnets: tuple[IPNetwork, ...],
) -> None:
    asked = NetworkRequest("lab", "eth0", subnets, existing_bridge=True)
    with pytest.raises(UnusableValue, match=r"'eth0': it is no bridge; .* --ports-only"):
        decide_network(asked, [], host("198.51.100.0/24"))


def test_a_network_for_ports_only_needs_an_interface_that_is_there() -> None:
    with pytest.raises(UnusableValue, match="'eth9': there is no such interface"):
        decide_network(NetworkRequest("pods", "eth9", ports_only=True), [], host())


@pytest.mark.parametrize(
    ("subnet", "mend"), [("10.1.0.0/24", "leave --host-ipv6 out"), ("fd00::/64", "--host-ipv4")]
)
def test_a_source_address_needs_a_subnet_of_its_family(subnet: str, mend: str) -> None:
    asked = NetworkRequest(
        "lab",
        subnets=(ip_network(subnet),),
        host_ipv4=IPv4Address("192.0.2.1"),
        host_ipv6=IPv6Address("2001:db8::1"),
    )
    with pytest.raises(UnusableValue, match=mend):
        decide_network(asked, [], HostLinks())


@pytest.mark.parametrize("bridge", ["all", "default", "-br", "br/0", "a" * 16])
def test_what_no_interface_can_be_called_is_no_bridge(bridge: str) -> None:
    with pytest.raises(UnusableValue, match="no name of an interface"):
        decide_network(NetworkRequest("lab", bridge), [], HostLinks())


@pytest.mark.parametrize("mode", ["gateway_mode_ipv4", "gateway_mode_ipv6"])
def test_a_network_without_a_gateway_is_internal(mode: str) -> None:
    modes = {mode: GatewayMode.ISOLATED}
    with pytest.raises(UnusableValue, match="for internal networks"):
        decide_network(NetworkRequest("lab", **modes), [], HostLinks())  # type: ignore[arg-type]
    made = decide_network(NetworkRequest("lab", internal=True, **modes), [], HostLinks())  # type: ignore[arg-type]
    assert made.internal


@pytest.mark.parametrize(
    ("subnets", "reason"),
    [
        (["10.1.0.0/24", "10.2.0.0/24"], "subnet of that family"),
        (["10.1.0.0/31"], "no room"),
        (["fd00::/127"], "no room"),
        (["224.0.0.0/24"], "no hosts'"),
        (["127.0.0.0/24"], "no hosts'"),
        (["fe80::/64"], "no hosts'"),
        (["0.0.0.0/8"], "no hosts'"),
        (["255.255.255.0/24"], "no hosts'"),
        (["::ffff:10.1.0.0/112"], "no hosts'"),
    ],
)
def test_subnets_that_make_no_network_are_refused(subnets: list[str], reason: str) -> None:
    given_: tuple[IPNetwork, ...] = tuple(map(ip_network, subnets))
    with pytest.raises(UnusableValue, match=reason):
        decide_network(NetworkRequest("lab", subnets=given_), [], HostLinks())


@pytest.mark.parametrize("name", ["", "-lab", "a b", "ünïcode", "a/b", "x" * 129])
def test_a_name_that_nobody_could_type_is_refused(name: str) -> None:
    with pytest.raises(UnusableValue):
        decide_network(NetworkRequest(name), [], HostLinks())
    with pytest.raises(UnusableValue):
        decide_endpoint(EndpointRequest("lab", name, "/run/netns/x"), LAB, [])


def test_a_network_of_one_family_has_only_that() -> None:
    request = NetworkRequest("lab", subnets=(ip_network("fd00:1::/64"),))
    made = decide_network(request, [], HostLinks())
    assert (made.subnet_ipv4, made.subnet_ipv6) == (None, ip_network("fd00:1::/64"))


def test_an_existing_bridge_brings_its_subnets_but_for_link_local_ones() -> None:
    subnets = tuple(map(ip_network, ("10.9.0.0/24", "10.8.0.0/24", "fe80::/64", "fd09::/64")))
    links = HostLinks(interfaces={"cni0": Interface(subnets, bridge=True)})
    made = decide_network(NetworkRequest("pods", bridge="cni0", existing_bridge=True), [], links)
    assert made.existing
    assert (made.subnet_ipv4, made.subnet_ipv6) == (subnets[0], subnets[3])


@pytest.mark.parametrize(
    "links",
    [
        HostLinks(),
        host("10.9.0.0/24", interface="cni0"),
        HostLinks({"cni0": Interface((), bridge=True)}),
    ],
    ids=["no interface", "no bridge", "no address"],
)
def test_an_existing_bridge_must_be_one_with_addresses(links: HostLinks) -> None:
    with pytest.raises(UnusableValue, match="cni0"):
        decide_network(NetworkRequest("pods", bridge="cni0", existing_bridge=True), [], links)


PODS = decide_network(
    NetworkRequest("pods", "veth0", ports_only=True), [LAB], host(interface="veth0")
)


def test_a_network_for_ports_only_asks_for_no_subnet_and_no_masquerading() -> None:
    assert PODS.ports_only
    assert PODS.existing
    assert (PODS.subnet_ipv4, PODS.subnet_ipv6, PODS.masquerade) == (None, None, False)


@pytest.mark.parametrize(
    "asked",
    [
        NetworkRequest("pods", ports_only=True),
        NetworkRequest("pods", "veth0", icc=False, ports_only=True),
        NetworkRequest("pods", "veth0", (ip_network("10.9.0.0/24"),), ports_only=True),
    ],
    ids=["no interface", "icc", "subnet"],
)
def test_all_but_its_interface_is_somebody_elses_matter(asked: NetworkRequest) -> None:
    with pytest.raises(UnusableValue, match="bridge"):
        decide_network(asked, [], HostLinks())


def test_a_network_for_ports_only_takes_any_address_but_special_ones() -> None:
    """A loopback address would lead clients to the host's own services."""
    asked = EndpointRequest("pods", "a", ipv4=IPv4Address("192.0.2.7"))
    made = decide_endpoint(asked, PODS, [])
    with pytest.raises(NameTaken, match=r"192\.0\.2\.7"):
        decide_endpoint(replace(asked, name="b"), PODS, [made])
    for special in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1"):
        with pytest.raises(UnusableValue, match=special):
            decide_endpoint(replace(asked, ipv4=IPv4Address(special)), PODS, [])


def test_nobody_is_wired_to_a_network_for_ports_only() -> None:
    with pytest.raises(UnusableValue, match="ports only"):
        decide_endpoint(EndpointRequest("pods", "a", "/run/netns/a"), PODS, [])


def test_an_endpoint_gets_the_next_free_address_of_each_family() -> None:
    first = decide_endpoint(EndpointRequest("lab", "a", "/run/netns/a"), LAB, [])
    second = decide_endpoint(EndpointRequest("lab", "b", "/run/netns/b"), LAB, [first])
    assert (str(first.ipv4), str(second.ipv4)) == ("10.87.0.2", "10.87.0.3")
    assert LAB.subnet_ipv6
    assert (first.ipv6, second.ipv6) == (LAB.subnet_ipv6[2], LAB.subnet_ipv6[3])


def test_an_address_that_was_given_back_is_given_again() -> None:
    first = decide_endpoint(EndpointRequest("lab", "a", "/run/netns/a"), LAB, [])
    assert decide_endpoint(EndpointRequest("lab", "b", "/run/netns/b"), LAB, []).ipv4 == first.ipv4


def test_other_networks_take_no_addresses_of_this_one() -> None:
    twin = replace(LAB, name="twin")
    other = Endpoint("a", twin, IPv4Address("10.87.0.2"))
    made = decide_endpoint(EndpointRequest("lab", "b", "/run/netns/b"), LAB, [other])
    assert str(made.ipv4) == "10.87.0.2"


def test_a_full_network_says_so() -> None:
    last = decide_endpoint(EndpointRequest("small", "a", "/run/netns/a"), SMALL, [])
    assert str(last.ipv4) == "192.0.2.2"
    with pytest.raises(NoAddressFree, match="network 'small'"):
        decide_endpoint(EndpointRequest("small", "b", "/run/netns/b"), SMALL, [last])


def test_an_isolated_network_has_no_gateway_so_its_address_is_free() -> None:
    isolated = replace(SMALL, gateway_mode_ipv4=GatewayMode.ISOLATED)
    made = decide_endpoint(EndpointRequest("small", "a", "/run/netns/a"), isolated, [])
    assert str(made.ipv4) == "192.0.2.1"


def test_what_somebody_else_brought_up_has_just_the_addresses_that_are_given() -> None:
    made = decide_endpoint(EndpointRequest("lab", "vm", ipv4=IPv4Address("10.87.0.9")), LAB, [])
    assert (made.namespace, str(made.ipv4), made.ipv6) == ("", "10.87.0.9", None)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "error", "reason"),
    [
        ("10.88.0.2", None, UnusableValue, "it is not in 10.87.0.0/24"),
        ("10.87.0.0", None, UnusableValue, "it is no endpoint's address in 10.87.0.0/24"),
        ("10.87.0.1", None, UnusableValue, "it is the gateway of network 'lab'"),
        ("10.87.0.255", None, UnusableValue, "it is no endpoint's address in 10.87.0.0/24"),
        ("10.87.0.2", None, NameTaken, "belongs to endpoint 'web'"),
        (None, "fd12::1", UnusableValue, f"it is not in {LAB.subnet_ipv6}"),
    ],
)
def test_an_address_that_is_no_free_one_of_the_network_is_refused(
    ipv4: str | None, ipv6: str | None, error: type[Exception], reason: str
) -> None:
    there = Endpoint("web", LAB, IPv4Address("10.87.0.2"))
    asked = EndpointRequest(
        "lab",
        "db",
        ipv4=IPv4Address(ipv4) if ipv4 else None,
        ipv6=IPv6Address(ipv6) if ipv6 else None,
    )
    with pytest.raises(error, match=rf"{ipv4 or ipv6}.* {reason}"):
        decide_endpoint(asked, LAB, [there])


def test_an_endpoint_needs_a_namespace_or_an_address() -> None:
    with pytest.raises(UnusableValue, match="neither"):
        decide_endpoint(EndpointRequest("lab", "web"), LAB, [])


def test_names_of_endpoints_are_unique_on_the_host() -> None:
    there = Endpoint("web", replace(LAB, name="other"))
    with pytest.raises(NameTaken, match="endpoint 'web'"):
        decide_endpoint(EndpointRequest("lab", "web", "/run/netns/web"), LAB, [there])

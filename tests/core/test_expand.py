from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import (
    BridgeNetwork,
    Endpoint,
    GatewayMode,
    PortSpec,
    ProxyProtocol,
    PublishMode,
    PublishRequest,
    parse_spec,
)
from hostports.core.expand import Circumstances, Expansion, expand
from hostports.errors import UnsupportedProtocol, UnusableValue
from hostports.model.host import Host, InterfaceAddress, PortDriverInfo
from hostports.model.port import Protocol
from tests.strategies import port_specs

NETWORK = BridgeNetwork("lab")
ROUTED = BridgeNetwork("lab", GatewayMode.ROUTED, GatewayMode.ROUTED)
DUAL = Endpoint("web", NETWORK, IPv4Address("172.19.0.2"), IPv6Address("fd00::2"))
IPV4_ONLY = replace(DUAL, ipv6=None)
SLIRP = PortDriverInfo(
    "slirp4netns",
    frozenset({"tcp4", "udp4"}),
    disallows_loopback_child_ip=True,
    child_ip=ip_address("::ffff:10.0.2.100"),
)


def expanded(
    *texts: str,
    endpoint: Endpoint = DUAL,
    default: str = "0.0.0.0",
    around: Circumstances | None = None,
    relay_6to4: bool = True,
) -> Expansion:
    specs = [spec for text in texts for spec in parse_spec(text)]
    request = PublishRequest(endpoint, specs, ip_address(default), relay_6to4)
    return expand(request, around or Circumstances())


def hosts(expansion: Expansion) -> list[list[str]]:
    """The host addresses, by group."""
    return [[str(member.host_ip) for member in group.members] for group in expansion.groups]


def test_the_default_host_address_means_both_families() -> None:
    assert hosts(expanded("8080:80")) == [["0.0.0.0", "::"]]


def test_without_a_relay_loopback_is_told_to_be_out_of_reach() -> None:
    """The wildcard has other addresses; RootlessKit may lead loopback to another address."""
    bare = Circumstances(relay=False)
    specs = ("8080:80", "127.0.0.1:8081:81", "[::1]:8082:82")
    told = [each.partition(": ")[0] for each in expanded(*specs, around=bare).warnings]
    assert told == ["127.0.0.1:8081:81/tcp", "[::1]:8082:82/tcp"]
    for around in (Circumstances(), replace(bare, driver=SLIRP)):
        assert not any("reach" in each for each in expanded(specs[1], around=around).warnings)


def test_ipv6_is_left_out_while_the_host_cannot_listen_on_it() -> None:
    without = Circumstances(host=Host(listens_on_ipv6=False))
    assert hosts(expanded("8080:80", around=without)) == [["0.0.0.0"]]
    assert hosts(expanded("[::]:8080:80", around=without)) == [["::"]]


@pytest.mark.parametrize(
    ("default", "expected"),
    [("127.0.0.1", ["127.0.0.1"]), ("::", ["::"]), ("::ffff:127.0.0.1", ["127.0.0.1"])],
)
def test_another_default_host_address_means_its_family_only(
    default: str, expected: list[str]
) -> None:
    assert hosts(expanded("8080:80", default=default)) == [expected]


def test_the_relay_carries_host_ipv6_to_an_endpoint_with_only_ipv4() -> None:
    (group,) = expanded("8080:80", endpoint=IPV4_ONLY).groups
    assert [(str(each.host_ip), str(each.container_ip)) for each in group.members] == [
        ("0.0.0.0", "172.19.0.2"),
        ("::", "172.19.0.2"),
    ]


@pytest.mark.parametrize(
    ("relay", "relay_6to4"), [(False, True), (True, False)], ids=["no relay", "forbidden"]
)
def test_host_ipv6_leads_nowhere_without_a_relay_or_its_leave(
    relay: bool,  # noqa: FBT001
    relay_6to4: bool,  # noqa: FBT001
) -> None:
    around = Circumstances(relay=relay)
    ipv4 = expanded("8080:80", endpoint=IPV4_ONLY, around=around, relay_6to4=relay_6to4)
    assert hosts(ipv4) == [["0.0.0.0"]]
    nothing = expanded("[::]:8080:80", endpoint=IPV4_ONLY, around=around, relay_6to4=relay_6to4)
    assert nothing.groups == ()
    assert nothing.warnings == (
        "[::]:8080:80/tcp: nothing is published: endpoint 'web' has no address that "
        "host address :: can lead to",
    )


def test_an_internal_network_has_no_published_ports() -> None:
    inside = replace(DUAL, network=BridgeNetwork("lab", internal=True))
    found = expanded("8080:80", "127.0.0.1::443", endpoint=inside)
    assert found == Expansion((), ("nothing is published: network 'lab' is internal",))


def test_bindings_that_differ_only_in_host_address_share_a_port() -> None:
    assert hosts(expanded("192.0.2.10::80", "[fd00::9]::80", "127.0.0.1::81")) == [
        ["192.0.2.10", "fd00::9"],
        ["127.0.0.1"],
    ]


def test_exact_ports_come_first_then_container_port_protocol_and_host_port() -> None:
    groups = expanded("81", "8000-8009:80", "9000:90", "8000:90/udp", "8000:90").groups
    assert [(str(each.ports), each.container_port, each.protocol.value) for each in groups] == [
        ("8000", 90, "tcp"),
        ("9000", 90, "tcp"),
        ("8000", 90, "udp"),
        ("8000-8009", 80, "tcp"),
        ("None", 81, "tcp"),
    ]


def test_a_routed_family_takes_no_host_port_and_says_what_it_ignores() -> None:
    half = replace(DUAL, network=BridgeNetwork("lab", gateway_mode_ipv6=GatewayMode.ROUTED))
    expansion = expanded("8080:80", endpoint=half)
    assert [(m.routed, str(m.host_ip)) for m in expansion.groups[0].members] == [
        (False, "0.0.0.0"),
        (True, "::"),
    ]
    assert expansion.warnings == (
        "8080:80/tcp: host address and host port are ignored: network 'lab' is routed for IPv6",
    )


def test_a_binding_that_is_asked_for_twice_is_published_once() -> None:
    expansion = expanded("8080:80", "0.0.0.0:8080:80")
    assert hosts(expansion) == [["0.0.0.0", "::"]]
    assert expansion.warnings == ("0.0.0.0:8080:80/tcp: asked for twice, published once",)


def test_a_wildcard_covers_the_addresses_of_its_family() -> None:
    expansion = expanded("127.0.0.1:8080:80", "[::1]:8080:80", "0.0.0.0:8080:80")
    assert hosts(expansion) == [["0.0.0.0", "::1"]]
    assert expansion.warnings == ("127.0.0.1:8080:80/tcp: covered by 0.0.0.0, left out",)


def test_what_rootlesskit_cannot_forward_is_left_out_with_a_warning() -> None:
    expansion = expanded("8080:80", "53:53/sctp", around=Circumstances(driver=SLIRP))
    assert hosts(expansion) == [["0.0.0.0"]]
    assert [str(each.child_ip) for each in expansion.groups[0].members] == ["10.0.2.100"]
    assert len(expansion.warnings) == 3
    assert expansion.warnings[2] == (
        "[::]:8080:80/tcp: left out: RootlessKit's port driver 'slirp4netns' "
        "can't forward tcp over IPv6"
    )


def test_sctp_is_refused_where_the_kernel_has_no_sctp_sockets() -> None:
    without = Circumstances(host=Host(protocols=frozenset({Protocol.TCP, Protocol.UDP})))
    with pytest.raises(UnsupportedProtocol) as caught:
        expanded("80", "5000:5000/sctp", around=without)
    assert str(caught.value) == (
        "5000/sctp can't be published: this kernel has no SCTP sockets; "
        "load the kernel module sctp, or leave the port out"
    )


def test_a_routed_sctp_port_needs_no_socket() -> None:
    without = Circumstances(host=Host(protocols=frozenset({Protocol.TCP, Protocol.UDP})))
    assert expanded("80/sctp", endpoint=replace(DUAL, network=ROUTED), around=without).groups


def with_proxy_protocol(*texts: str, endpoint: Endpoint = DUAL) -> PublishRequest:
    specs = [spec for text in texts for spec in parse_spec(text)]
    return PublishRequest(endpoint, specs, proxy_protocol=ProxyProtocol.V2)


def test_with_the_proxy_protocol_the_relay_is_the_only_way() -> None:
    """DNAT would lead clients past whoever writes the header."""
    routed = replace(DUAL, network=ROUTED)
    for endpoint in (DUAL, routed):
        (group,) = expand(with_proxy_protocol("80", endpoint=endpoint), Circumstances()).groups
        assert (group.mode, group.proxy_protocol) == (PublishMode.RELAY, ProxyProtocol.V2)
        assert not any(member.routed for member in group.members)


def test_without_the_proxy_protocol_nobody_writes_a_header() -> None:
    (group,) = expanded("80").groups
    assert (group.mode, group.proxy_protocol) == (PublishMode.NAT, None)


@pytest.mark.parametrize("text", ["53/udp", "127.0.0.1:5000:5000/sctp"])
def test_the_proxy_protocol_is_refused_for_what_is_not_tcp(text: str) -> None:
    with pytest.raises(UnusableValue) as caught:
        expand(with_proxy_protocol("80", text), Circumstances())
    assert str(caught.value) == (
        f"{text!r}: the PROXY protocol is for TCP only; publish it without"
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (with_proxy_protocol("80"), "'v2': the PROXY protocol needs the relay"),
        (
            PublishRequest(DUAL, parse_spec("80"), mode=PublishMode.RELAY),
            "'relay': this publish mode needs the relay",
        ),
    ],
    ids=["PROXY protocol", "mode relay"],
)
def test_what_only_the_relay_can_do_is_refused_without_it(
    request_: PublishRequest, message: str
) -> None:
    with pytest.raises(UnusableValue) as caught:
        expand(request_, Circumstances(relay=False))
    assert str(caught.value) == f"{message}; start the daemon without --no-relay"


def following(specs: list[PortSpec]) -> Circumstances:
    """A host on which all interfaces that are named have the same two addresses."""
    there = [InterfaceAddress(ip_address(each)) for each in ("192.0.2.10", "2001:db8::10")]
    return Circumstances(addresses={each.interface: there for each in specs})


@given(st.lists(port_specs(), max_size=8), st.randoms())
def test_the_order_of_specs_does_not_matter(specs: list[PortSpec], random: object) -> None:
    shuffled = list(specs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    around = following(specs)
    assert expand(PublishRequest(DUAL, specs), around) == expand(
        PublishRequest(DUAL, shuffled), around
    )


@given(st.lists(port_specs(), max_size=8))
def test_no_two_members_of_a_group_overlap(specs: list[PortSpec]) -> None:
    for group in expand(PublishRequest(DUAL, specs), following(specs)).groups:
        for of in (4, 6):
            ips = [each.host_ip for each in group.members if each.host_ip.version == of]
            assert len(set(ips)) == len(ips)
            assert len(ips) < 2 or not any(ip.is_unspecified for ip in ips)

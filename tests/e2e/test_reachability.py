"""What users of Docker expect to reach, and what must stay out of reach, with real packets."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from tests.e2e.site import SILENCE_S, Site, host_probe, site
from tests.netns.lab import HOST_IPV4, Probe
from tests.relay.waiting import PATIENCE_S

NOTHING, REFUSED = "nothing", "refused"
#: One container's ports, as everybody asks for them.
PROTOCOLS = pytest.mark.parametrize(("protocol", "port"), [("tcp", 8080), ("udp", 5353)])


@pytest.fixture(scope="module", params=["relay", "hairpin"])
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """All networks with their containers, and some ports."""
    relay = request.param == "relay"
    with site(tmp_path_factory.mktemp("site"), *([] if relay else ["--no-relay"])) as made:
        made.add_networks()
        made.publish("nat1", "8080:80", "5353:53/udp", "127.0.0.1:8082:80")
        made.publish("nat1", "8083:80", allow_from=["10.8.0.0/24", "fd08::/64"])
        made.publish("four1", "8084:80", "5354:53/udp")
        made.publish("six1", "8085:80")
        made.publish("open1", "8086:80")
        made.publish("routed1", "80", "53/udp")
        if relay:
            made.publish("nat1", "8087:80", mode="relay")
        yield made


class Case(NamedTuple):
    """A question, and its answer with the relay and without it."""

    name: str
    probe: Probe
    relay: str
    hairpin: str


def case(name: str, probe: Probe, relay: str, hairpin: str | None = None) -> Case:
    return Case(name, probe, relay, relay if hairpin is None else hairpin)


def both(
    name: str, where: str, port: int, relay: str, hairpin: str | None = None, protocol: str = "tcp"
) -> list[Case]:
    """A question to the host's own address in each family."""
    return [
        case(
            f"{name}, IPv{of}",
            host_probe(where, port, version=of, protocol=protocol),
            relay,
            hairpin,
        )
        for of in (4, 6)
    ]


#: Who shall be reached.
ANSWERED = [
    *both("another host", "remote", 8080, "nat1"),
    *both("the host by its own address", "host", 8080, "nat1"),
    *both("the container itself", "nat1", 8080, "nat1"),
    *both("a neighbour", "nat2", 8080, "nat1"),
    *both("a container on another network", "other1", 8080, "nat1"),
    *both("another host by UDP", "remote", 5353, "nat1", protocol="udp"),
    *both("a neighbour by UDP", "nat2", 5353, "nat1", protocol="udp"),
    *both("another network by UDP", "other1", 5353, "nat1", protocol="udp"),
    *both("the container itself by UDP", "nat1", 5353, "nat1", protocol="udp"),
    *both("the host by its own address, by UDP", "host", 5353, "nat1", protocol="udp"),
    *both("an unprotected network", "remote", 8086, "open1"),
    *both("a source on the allowlist", "trusted", 8083, "nat1"),
    case("an IPv4-only container, IPv4", host_probe("remote", 8084), "four1"),
    case("an IPv4-only container by UDP", host_probe("remote", 5354, protocol="udp"), "four1"),
    case("an IPv6-only container", host_probe("remote", 8085, version=6), "six1"),
]
#: Whom only the relay reaches.
RELAYED = [
    case("the host by loopback, IPv4", Probe("host", "127.0.0.1", 8080), "nat1", NOTHING),
    case("the host by loopback, IPv6", Probe("host", "::1", 8080), "nat1", NOTHING),
    *(
        case(f"the host by loopback, by UDP, {ip}", Probe("host", ip, 5353, "udp"), "nat1", NOTHING)
        for ip in ("127.0.0.1", "::1")
    ),
    case("published on loopback", Probe("host", "127.0.0.1", 8082), "nat1", NOTHING),
    case("IPv6 to an IPv4-only container", host_probe("remote", 8084, version=6), "four1", REFUSED),
    case(
        "IPv6 to an IPv4-only container, by UDP",
        host_probe("remote", 5354, version=6, protocol="udp"),
        "four1",
        REFUSED,
    ),
    *both("mode relay", "remote", 8087, "nat1", REFUSED),
]
#: Who shall not be reached.
KEPT_OUT = [
    *both("a port that isn't published", "remote", 8088, REFUSED),
    *both("a source off the allowlist", "remote", 8083, NOTHING),
    case("published on loopback, from outside", host_probe("remote", 8082), REFUSED),
    case("IPv4 to an IPv6-only container", host_probe("remote", 8085), REFUSED),
]


def wrong(made: Site, cases: Sequence[Case], seconds: float) -> dict[str, str]:
    """The questions that got another answer, and which."""
    answers = made.answers(*(each.probe for each in cases), seconds=seconds)
    return {
        each.name: answer
        for each, answer in zip(cases, answers, strict=True)
        if answer != (each.relay if made.daemon.relayed else each.hairpin)
    }


def test_a_published_port_is_reached_from_everywhere(published: Site) -> None:
    assert wrong(published, ANSWERED, PATIENCE_S) == {}


def test_the_relay_reaches_what_destination_nat_can_not(published: Site) -> None:
    seconds = PATIENCE_S if published.daemon.relayed else SILENCE_S
    assert wrong(published, RELAYED, seconds) == {}


def test_what_is_not_published_for_somebody_stays_out_of_reach(published: Site) -> None:
    assert wrong(published, KEPT_OUT, SILENCE_S) == {}


@PROTOCOLS
def test_a_link_local_address_of_the_host_leads_to_the_container_by_the_relay(
    published: Site, protocol: str, port: int
) -> None:
    ip = published.lab.link_local("host", "uplink0")
    probe = Probe("remote", f"{ip}%eth0", port, protocol)
    assert published.daemon.relayed == (published.answers(probe, seconds=SILENCE_S * 4) == ["nat1"])


@PROTOCOLS
@pytest.mark.parametrize("where", ["nat1", "nat2", "other1"])
@pytest.mark.parametrize("network", ["nat", "other"])
def test_a_published_port_is_reached_by_any_networks_gateway_from_any_container(
    published: Site, network: str, where: str, protocol: str, port: int
) -> None:
    gateways = [f"{published.subnet(network, of)}1" for of in (4, 6)]
    probes = [Probe(where, ip, port, protocol) for ip in gateways]
    assert published.answers(*probes) == ["nat1", "nat1"]


def direct(made: Site, where: str, container: str, port: int) -> list[Probe]:
    """Questions to a container's own addresses."""
    return [Probe(where, ip, port) for ip in made.addresses[container].values()]


@pytest.mark.parametrize(
    ("where", "container", "port", "answers"),
    [
        ("nat2", "nat1", 81, "nat1"),
        ("host", "nat1", 81, "nat1"),
        ("trusted", "nat1", 80, "nat1"),
        ("trusted", "nat1", 81, NOTHING),
        ("remote", "nat1", 80, NOTHING),
        ("other1", "nat1", 80, NOTHING),
        ("trusted", "other1", 80, NOTHING),
        ("remote", "routed1", 80, "routed1"),
        ("remote", "routed1", 81, NOTHING),
        ("remote", "open1", 81, "open1"),
    ],
)
def test_a_containers_own_address_is_reached_as_its_networks_mode_says(
    published: Site, where: str, container: str, port: int, answers: str
) -> None:
    seconds = SILENCE_S if answers == NOTHING else PATIENCE_S
    probes = direct(published, where, container, port)
    assert published.answers(*probes, seconds=seconds) == [answers] * len(probes)


def test_direct_routing_opens_published_ports_only(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with site(tmp_path_factory.mktemp("site"), "--allow-direct-routing") as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        assert made.answers(*direct(made, "remote", "nat1", 80)) == ["nat1", "nat1"]
        closed = made.answers(*direct(made, "remote", "nat1", 81), seconds=SILENCE_S)
        assert closed == [NOTHING, NOTHING]


def test_destination_nat_tells_a_container_its_real_client(published: Site) -> None:
    """The relay can't: clients that it serves are seen from the gateway's address."""
    assert published.seen(host_probe("remote", 8080)) == "10.9.0.2"
    if published.daemon.relayed:
        gateway = f"{published.subnet('nat', 4)}1"
        assert published.seen(Probe("host", "127.0.0.1", 8080)) == gateway


def test_containers_reach_other_hosts_under_the_hosts_address(published: Site) -> None:
    published.lab.serve("remote", "remote", [8000])
    assert published.seen(Probe("nat1", "10.9.0.2", 8000)) == HOST_IPV4
    assert published.seen(Probe("routed1", "10.9.0.2", 8000)) == published.addresses["routed1"][4]

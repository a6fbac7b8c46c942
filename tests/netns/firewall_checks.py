"""What the firewall must let through and what not, as questions to a lab and their answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from hostports import PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.linux.iptables import IptablesFirewall
from hostports.linux.nftables import NftablesFirewall
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, Traffic
from hostports.model.port import PublishMode, SocketAddress
from tests.netns.lab import (
    CONTAINERS,
    HOST_IPV4,
    HOST_IPV6,
    NETWORKS,
    SECOND_IPV4,
    SECOND_IPV6,
    Lab,
    Probe,
    endpoint,
    lab,
)
from tests.netns.packets import datagram_arrives, ping, sctp_arrives, spoofed_syn_arrives

RealFirewall = NftablesFirewall | IptablesFirewall

MODES: Final = {"relay": Settings(relay=True), "hairpin": Settings(relay=False)}
NOTHING, REFUSED = "nothing", "refused"
#: Seconds to wait for an answer that should come, and for one that should not.
PATIENCE, SILENCE = 10.0, 0.5
CLIENT, CLIENT6 = "10.9.0.2", "fd09::2"


def binding(
    container: str,
    host_ip: str,
    host_port: int,
    container_port: int = 80,
    *,
    protocol: str = "tcp",
    allow_from: Sequence[str] = (),
    mode: PublishMode = PublishMode.NAT,
    ipv4_container: bool = False,
) -> PortBinding:
    """A port of a container; host and container address are of one family but where it says so."""
    to = endpoint(container)
    container_ip = to.ipv6 if ":" in host_ip and not ipv4_container else to.ipv4
    assert container_ip
    return PortBinding(
        network=to.network.name,
        endpoint=container,
        protocol=Protocol(protocol),
        host_ip=ip_address(host_ip),
        host_port=host_port,
        container_ip=container_ip,
        container_port=container_port,
        mode=mode,
        allow_from=tuple(map(ip_network, allow_from)),
    )


def both(
    container: str, host_port: int, container_port: int = 80, **more: object
) -> list[PortBinding]:
    """A port on any address of both families."""
    ips = ("0.0.0.0", "::")
    return [binding(container, ip, host_port, container_port, **more) for ip in ips]  # type: ignore[arg-type]


ALLOWED: Final = ("10.9.0.2/32", "10.8.0.0/24", "fd09::2/128")
BINDINGS: Final = (
    *both("a1", 8080),
    binding("a1", SECOND_IPV4, 8081),
    binding("a1", SECOND_IPV6, 8081),
    binding("a1", "127.0.0.1", 8082),
    *both("a1", 8083, allow_from=ALLOWED),
    *both("a1", 8084),
    binding("a1", "::", 8085, ipv4_container=True),
    *both("a1", 8086, mode=PublishMode.RELAY),
    *both("a1", 8095, mode=PublishMode.RELAY, allow_from=ALLOWED),
    binding("a1", HOST_IPV4, 8087, allow_from=ALLOWED),
    binding("a1", HOST_IPV6, 8087, allow_from=ALLOWED),
    binding("a1", HOST_IPV4, 8088),
    binding("a2", SECOND_IPV4, 8088),
    *both("a1", 8090, 6666),
    *both("u1", 8091),
    *both("n1", 8094),
    *both("m1", 8092),
    *both("b1", 8093),
    *both("a1", 5353, 53, protocol="udp"),
    *both("a1", 5354, 54, protocol="udp"),
    binding("a1", HOST_IPV4, 5355, 54, protocol="udp"),
    binding("a1", HOST_IPV6, 5355, 54, protocol="udp"),
    binding("a1", "0.0.0.0", 9000, 9, protocol="sctp"),
    *both("r1", 0),
    *both("q1", 0),
)


class Check(NamedTuple):
    """A probe and its answer, with the relay on and off."""

    name: str
    probe: Probe
    relayed: str
    hairpin: str

    def expected(self, settings: Settings) -> str:
        return self.relayed if settings.relay else self.hairpin


def check(
    name: str, where: str, ip: str, port: int, relayed: str, hairpin: str = "", **more: str
) -> Check:
    """A check whose answer is the same without the relay, unless `hairpin` says otherwise."""
    return Check(name, Probe(where, ip, port, **more), relayed, hairpin or relayed)


def on_host(name: str, port: int, ipv4: str, ipv6: str, client: str) -> Iterator[Check]:
    """A check of one port on the host's address in both families, from an address of the client."""
    yield check(name, "client", HOST_IPV4, port, ipv4, source=client)
    client6 = client.replace("10.9.0.", "fd09::")
    yield check(f"{name}, IPv6", "client", HOST_IPV6, port, ipv6, source=client6)


def _published() -> Iterator[Check]:
    yield from on_host("any address", 8080, "a1 10.9.0.2", "a1 fd09::2", CLIENT)
    yield from on_host("network without ICC", 8094, "n1 10.9.0.2", "n1 fd09::2", CLIENT)
    yield from on_host("other network", 8093, "b1 10.9.0.2", "b1 fd09::2", CLIENT)
    yield from on_host("second port of a container port", 8084, "a1 10.9.0.2", "a1 fd09::2", CLIENT)
    yield check("one address", "client", SECOND_IPV4, 8081, "a1 10.9.0.2", source=CLIENT)
    yield check("one address, IPv6", "client", SECOND_IPV6, 8081, "a1 fd09::2", source=CLIENT6)
    yield check("one address, not another", "client", HOST_IPV4, 8081, "relay 10.9.0.2", REFUSED)
    yield check(
        "one address, not another, IPv6",
        "client",
        HOST_IPV6,
        8081,
        "relay fd09::2",
        REFUSED,
        source=CLIENT6,
    )
    yield check("one port on two addresses", "client", HOST_IPV4, 8088, "a1 10.9.0.2")
    yield check("one port on two addresses, second", "client", SECOND_IPV4, 8088, "a2 10.9.0.2")
    yield check("udp", "client", HOST_IPV4, 5353, "a1 10.9.0.2", protocol="udp")
    yield check(
        "udp, IPv6", "client", HOST_IPV6, 5353, "a1 fd09::2", protocol="udp", source=CLIENT6
    )
    yield check(
        "IPv6 to an IPv4 container",
        "client",
        HOST_IPV6,
        8085,
        "relay fd09::2",
        REFUSED,
        source=CLIENT6,
    )
    yield check("relay mode", "client", HOST_IPV4, 8086, "relay 10.9.0.2", REFUSED)
    yield check(
        "relay mode, IPv6", "client", HOST_IPV6, 8086, "relay fd09::2", REFUSED, source=CLIENT6
    )
    yield check("transit to a published port is not ours", "a1", CLIENT, 8080, "client 10.9.0.1")
    yield from on_host("a user's rule comes first", 8090, NOTHING, NOTHING, CLIENT)


def _local() -> Iterator[Check]:
    yield check("host", "host", HOST_IPV4, 8080, "a1 10.9.0.1", "a1 172.30.0.1")
    yield check("host, IPv6", "host", HOST_IPV6, 8080, "a1 fd09::1", "a1 fd30::1")
    for name, port, ipv4, ipv6 in (
        ("b", 8093, "10.9.0.11", "fd09::11"),
        ("u", 8091, "172.34.0.1", "fd34::1"),
        ("n", 8094, "172.35.0.1", "fd35::1"),
        ("m", 8092, "172.36.0.1", "fd36::1"),
    ):
        relayed, relayed6 = f"{name}1 {HOST_IPV4}", f"{name}1 {HOST_IPV6}"
        yield check(f"host to {name}", "host", HOST_IPV4, port, relayed, f"{name}1 {ipv4}")
        yield check(f"host to {name}, IPv6", "host", HOST_IPV6, port, relayed6, f"{name}1 {ipv6}")
    yield check("host, loopback", "host", "127.0.0.1", 8080, "relay 127.0.0.1", REFUSED)
    yield check("host, loopback only", "host", "127.0.0.1", 8082, "relay 127.0.0.1", REFUSED)
    yield check("host, loopback, IPv6", "host", "::1", 8080, "relay ::1", REFUSED)
    for name, number, port in (("b", 31, 8093), ("u", 34, 8091), ("m", 36, 8092)):
        yield check(
            f"neighbour's port in {name}",
            f"{name}2",
            HOST_IPV4,
            port,
            f"relay 172.{number}.0.3",
            f"{name}1 172.{number}.0.1",
        )
        yield check(
            f"neighbour's port in {name}, IPv6",
            f"{name}2",
            HOST_IPV6,
            port,
            f"relay fd{number}::3",
            f"{name}1 fd{number}::1",
        )
    yield check("host to a container", "host", "172.30.0.2", 81, "a1 172.30.0.1")
    for where, last in (("a1", 2), ("a2", 3)):
        name = "container to its own port" if where == "a1" else "container to its neighbour's port"
        yield check(name, where, HOST_IPV4, 8080, f"relay 172.30.0.{last}", "a1 172.30.0.1")
        yield check(f"{name}, IPv6", where, HOST_IPV6, 8080, f"relay fd30::{last}", "a1 fd30::1")
    yield check(
        "container to its own port on one address",
        "a1",
        SECOND_IPV4,
        8081,
        "relay 172.30.0.2",
        "a1 172.30.0.1",
    )
    yield check(
        "container to its own port on one address, IPv6",
        "a1",
        SECOND_IPV6,
        8081,
        "relay fd30::2",
        "a1 fd30::1",
    )


def _direct() -> Iterator[Check]:
    for port, state in ((80, "published"), (81, "unpublished")):
        yield check(f"direct to {state}", "client", "172.30.0.2", port, NOTHING)
        yield check(f"direct to {state}, IPv6", "client", "fd30::2", port, NOTHING)
    for name, number in (("b", 31), ("n", 35)):
        yield check(f"direct to {name}", "client", f"172.{number}.0.2", 80, NOTHING)
        yield check(f"direct to {name}, IPv6", "client", f"fd{number}::2", 80, NOTHING)
    for name, who, number in (
        ("direct to b from trusted", "b1", 31),
        ("direct to n from trusted", "n1", 35),
        ("direct from trusted", "a1", 30),
        ("direct from trusted without masquerading", "m1", 36),
    ):
        yield check(name, "trusted", f"172.{number}.0.2", 80, f"{who} 10.8.0.2")
        of_ipv6, answer = f"{name}, IPv6", f"{who} fd08::2"
        yield check(of_ipv6, "trusted", f"fd{number}::2", 80, answer, source="fd08::2")
    for number in (30, 31, 35, 36):
        name = f"direct from trusted to unpublished, {number}"
        yield check(name, "trusted", f"172.{number}.0.2", 81, NOTHING)
        yield check(f"{name}, IPv6", "trusted", f"fd{number}::2", 81, NOTHING)
    ports = on_host("without masquerading", 8092, "m1 10.9.0.2", "m1 fd09::2", CLIENT)
    yield from ports
    yield check("direct without masquerading", "client", "172.36.0.2", 80, NOTHING)
    yield check("direct without masquerading, IPv6", "client", "fd36::2", 80, NOTHING)
    yield check("routed", "client", "172.33.0.2", 80, "r1 10.9.0.2")
    yield check("routed, IPv6", "client", "fd33::2", 80, "r1 fd09::2", source=CLIENT6)
    yield check("routed, unpublished", "client", "172.33.0.2", 81, NOTHING)
    yield check("routed, unpublished, IPv6", "client", "fd33::2", 81, NOTHING)
    yield check("unprotected", "client", "172.34.0.2", 81, "u1 10.9.0.2")
    yield check("unprotected, IPv6", "client", "fd34::2", 81, "u1 fd09::2", source=CLIENT6)


def _networks() -> Iterator[Check]:
    yield check("other network's port", "b1", HOST_IPV4, 8080, "a1 10.9.0.11")
    yield check("other network's port, IPv6", "b1", HOST_IPV6, 8080, "a1 fd09::11")
    yield check("other network's unprotected port", "b1", HOST_IPV4, 8091, "u1 10.9.0.11")
    yield check("other network's unprotected port, IPv6", "b1", HOST_IPV6, 8091, "u1 fd09::11")
    yield check("other network's container", "b1", "172.30.0.2", 80, NOTHING)
    yield check("other network's container, IPv6", "b1", "fd30::2", 80, NOTHING)
    yield check("other network's unprotected container", "b1", "172.34.0.2", 81, NOTHING)
    yield check("other network's unprotected container, IPv6", "b1", "fd34::2", 81, NOTHING)
    yield check("other network's routed container", "b1", "172.33.0.2", 80, "r1 10.9.0.11")
    yield check("other network's routed container, IPv6", "b1", "fd33::2", 80, "r1 fd09::11")
    yield check("internal to outside", "i1", CLIENT, 7000, NOTHING)
    yield check("internal to outside, IPv6", "i1", CLIENT6, 7000, NOTHING)
    yield check("internal to another network's port", "i1", HOST_IPV4, 8080, NOTHING)
    yield check("outside to internal", "client", "172.32.0.2", 80, NOTHING)
    yield check("outside to internal, IPv6", "client", "fd32::2", 80, NOTHING)
    yield check("within internal", "i1", "172.32.0.3", 80, "i2 172.32.0.2")
    yield check("within internal, IPv6", "i1", "fd32::3", 80, "i2 fd32::2")
    yield check("between containers", "a1", "172.30.0.3", 81, "a2 172.30.0.2")
    yield check("between containers, IPv6", "a1", "fd30::3", 81, "a2 fd30::2")
    yield check("to a stranger without ICC", "n2", "172.35.0.4", 80, NOTHING)
    yield check("to a stranger without ICC, IPv6", "n2", "fd35::4", 80, NOTHING)
    for where, number in (("n2", 35), ("q2", 37), ("j2", 38)):
        name = f"without ICC, from {where}"
        yield check(name, where, f"172.{number}.0.2", 80, NOTHING)
        yield check(f"{name}, IPv6", where, f"fd{number}::2", 80, NOTHING)
    yield check("routed without ICC", "client", "172.37.0.2", 80, "q1 10.9.0.2")
    yield check("routed without ICC, IPv6", "client", "fd37::2", 80, "q1 fd09::2", source=CLIENT6)
    yield check("routed without ICC, own source", "q1", CLIENT, 7000, "client 172.37.0.2")
    yield check("routed without ICC, own source, IPv6", "q1", CLIENT6, 7000, "client fd37::2")
    yield check("routed without ICC, unpublished", "client", "172.37.0.2", 81, NOTHING)
    yield check("routed without ICC, unpublished, IPv6", "client", "fd37::2", 81, NOTHING)
    yield check("outside to internal without ICC", "client", "172.38.0.2", 80, NOTHING)
    for name, number in (("b", 31), ("r", 33), ("u", 34), ("m", 36)):
        between, where = f"between containers of {name}", f"{name}1"
        yield check(between, where, f"172.{number}.0.3", 81, f"{name}2 172.{number}.0.2")
        yield check(f"{between}, IPv6", where, f"fd{number}::3", 81, f"{name}2 fd{number}::2")


def _sources() -> Iterator[Check]:
    yield check("masquerade", "a1", CLIENT, 7000, "client 10.9.0.1")
    yield check("masquerade, IPv6", "a1", CLIENT6, 7000, "client fd09::11")
    yield check("fixed source", "b1", CLIENT, 7000, "client 10.9.0.11")
    yield check("fixed source, IPv6", "b1", CLIENT6, 7000, "client fd09::11")
    yield check("no masquerade", "m1", CLIENT, 7000, "client 172.36.0.2")
    yield check("no masquerade, IPv6", "m1", CLIENT6, 7000, "client fd36::2")
    yield check("masquerade without ICC", "n1", CLIENT, 7000, "client 10.9.0.1")
    yield check("masquerade without ICC, IPv6", "n1", CLIENT6, 7000, "client fd09::11")
    yield check("masquerade, unprotected", "u1", CLIENT, 7000, "client 10.9.0.1")
    yield check("masquerade, unprotected, IPv6", "u1", CLIENT6, 7000, "client fd09::11")
    yield check("routed: own source", "r1", CLIENT, 7000, "client 172.33.0.2")
    yield check("routed: own source, IPv6", "r1", CLIENT6, 7000, "client fd33::2")
    for port, what in ((8083, "any address"), (8087, "one address")):
        ok = f"allowed source, {what}"
        yield from on_host(ok, port, "a1 10.9.0.2", "a1 fd09::2", CLIENT)
        no = f"source not allowed, {what}"
        yield from on_host(no, port, NOTHING, NOTHING, "10.9.0.3")
    for name, ip, source in (("", HOST_IPV4, CLIENT), (", IPv6", HOST_IPV6, CLIENT6)):
        yield check(
            f"allowed source, relay mode{name}",
            "client",
            ip,
            8095,
            f"relay {source}",
            REFUSED,
            source=source,
        )
    yield from on_host("source not allowed, relay mode", 8095, NOTHING, NOTHING, "10.9.0.3")
    yield check("allowed prefix", "trusted", HOST_IPV4, 8083, "a1 10.8.0.2")
    yield check("allowed prefix, one address", "trusted", HOST_IPV4, 8087, "a1 10.8.0.2")
    yield check("allowed prefix, relay mode", "trusted", HOST_IPV4, 8095, "relay 10.8.0.2", REFUSED)
    yield check("host not allowed", "host", HOST_IPV4, 8083, NOTHING)
    yield check("host not allowed, IPv6", "host", HOST_IPV6, 8083, NOTHING)


CHECKS: Final = (*_published(), *_local(), *_direct(), *_networks(), *_sources())


class Host:
    """A lab with the firewall on its host, the relay's stand-in, and all that is published."""

    def __init__(
        self, made: Lab, settings: Settings, backend: Callable[[Settings], RealFirewall]
    ) -> None:
        self.lab = made
        self.settings = settings
        with self.entered():
            self.firewall = backend(settings)
            self.firewall.apply(EVERYTHING)
            self.let_user_drop()
        # What protects loopback must not be the kernel's default (CVE-2020-8558).
        made.namespaces["host"].sysctl("net.ipv4.conf.uplink0.route_localnet", "1")

    def let_user_drop(self) -> None:
        """Add a rule of the user's own."""
        if isinstance(self.firewall, NftablesFirewall):
            self.firewall.run("add rule inet hostports user tcp dport 6666 drop")
        else:
            for of in Family:
                rule = "*filter\n-A HP-USER -p tcp --dport 6666 -j DROP\nCOMMIT\n"
                self.firewall.iptables.restore(of, rule)

    def entered(self) -> AbstractContextManager[None]:
        """Work in the host's namespace."""
        return self.lab.namespaces["host"].entered()

    def wrong(self) -> dict[str, str]:
        """Everything that isn't as it should be, with what it is instead."""
        silent = [each for each in self.checks() if each.expected(self.settings) == NOTHING]
        answered = [each for each in self.checks() if each.expected(self.settings) != NOTHING]
        found = self._wrong(silent, SILENCE) | self._wrong(answered, PATIENCE)
        for name, (question, expected) in SPECIALS.items():
            if question(self, PATIENCE if expected else SILENCE) is not expected:
                found[name] = f"not {expected}"
        return found

    def seems_right(self) -> bool:
        """The same in a hurry: whether nothing is found wrong at once."""
        if self._wrong(self.checks(), SILENCE):
            return False
        return all(question(self, SILENCE) is expected for question, expected in SPECIALS.values())

    def checks(self) -> list[Check]:
        """All checks; one needs to know the lab's own link-local addresses."""
        return [*CHECKS, self._link_local_check()]

    def _wrong(self, checks: Sequence[Check], seconds: float) -> dict[str, str]:
        answers = self.lab.ask([each.probe for each in checks], seconds)
        return {
            each.name: answer
            for each, answer in zip(checks, answers, strict=True)
            if answer != each.expected(self.settings)
        }

    def _link_local_check(self) -> Check:
        """A client known by its link only meets the relay, for its address can't be routed."""
        ours = self.lab.link_local("host", "uplink0")
        theirs = self.lab.link_local("client", "eth0")
        return check("link-local", "client", f"{ours}%eth0", 8080, f"relay {theirs}", REFUSED)

    def counted(self, ip: str, port: int) -> int:
        """The packets counted for a UDP port."""
        with self.entered():
            traffic = self.firewall.traffic()
        return traffic.get(SocketAddress(Protocol.UDP, ip_address(ip), port), Traffic()).packets


#: A question with yes or no for an answer; the second argument is how long to wait for a yes.
Special = Callable[[Host, float], bool]


def _ping(ip: str) -> Special:
    return lambda host, wait: ping(host.lab, "client", ip, wait)


def _one_way(where: str, ip: str, there: str) -> Special:
    return lambda host, wait: datagram_arrives(host.lab, where, ip, there, wait)


_PACKETS: Final[dict[str, tuple[Special, bool]]] = {
    "ping routed": (_ping("172.33.0.2"), True),
    "ping routed, IPv6": (_ping("fd33::2"), True),
    "ping routed without ICC": (_ping("172.37.0.2"), True),
    "ping routed without ICC, IPv6": (_ping("fd37::2"), True),
    "ping direct": (_ping("172.30.0.2"), False),
    "datagram out": (_one_way("a1", CLIENT, "client"), True),
    "datagram from internal": (_one_way("i1", CLIENT, "client"), False),
    "datagram to internal": (_one_way("client", "172.32.0.2", "i1"), False),
    "datagram from internal without ICC": (_one_way("j1", CLIENT, "client"), False),
    "datagram to internal without ICC": (_one_way("client", "172.38.0.2", "j1"), False),
    "datagram out, IPv6": (_one_way("a1", CLIENT6, "client"), True),
    "datagram from internal, IPv6": (_one_way("i1", CLIENT6, "client"), False),
    "datagram to internal, IPv6": (_one_way("client", "fd32::2", "i1"), False),
    "datagram from internal without ICC, IPv6": (_one_way("j1", CLIENT6, "client"), False),
    "datagram to internal without ICC, IPv6": (_one_way("client", "fd38::2", "j1"), False),
    "sctp": (lambda host, wait: sctp_arrives(host.lab, 9000, "a1", 9, wait), True),
    "loopback port from outside": (
        lambda host, wait: spoofed_syn_arrives(host.lab, "127.0.0.1", 8082, "a1", 80, wait),
        False,
    ),
}


#: An answer, where there is one, comes within so many seconds.
_BRIEFLY = 0.1


def _counts(where: str, ip: str, key: str, port: int, packets: int) -> Special:
    """Whether a datagram is counted, and its answer, if there is one."""

    def counts(host: Host, wait: float) -> bool:
        before = host.counted(key, port)
        host.lab.ask([Probe(where, ip, port, "udp")], wait if packets > 1 else _BRIEFLY)
        return host.counted(key, port) == before + packets

    return counts


SPECIALS: Final = _PACKETS | {
    f"counts of {where} to {ip}:{port}": (_counts(where, ip, key, port, packets), True)
    for where in ("client", "host")
    for ip, any_ip in ((HOST_IPV4, "0.0.0.0"), (HOST_IPV6, "::"))
    for port, key, packets in ((5353, any_ip, 2), (5354, any_ip, 1), (5355, ip, 1))
}


#: One container is on its bridge without being an endpoint.
ENDPOINTS: Final = tuple(endpoint(name) for name in CONTAINERS if name != "n3")
EVERYTHING: Final = FirewallChange(opened=(*NETWORKS.values(), *ENDPOINTS, *BINDINGS))


@contextmanager
def host(
    settings: Settings, backend: Callable[[Settings], RealFirewall] = NftablesFirewall
) -> Iterator[Host]:
    """A lab whose servers and, if it is on, relay are up."""
    with lab(hairpin=not settings.relay) as made:
        for name in CONTAINERS:
            made.serve(name, name, [80, 81, 6666])
            made.serve(name, name, [53], "udp")
        for name in ("client", "trusted"):
            made.serve(name, name, [7000, 8080])
        if settings.relay:
            made.serve("host", "relay", [*range(8080, 8096)])
        yield Host(made, settings, backend)

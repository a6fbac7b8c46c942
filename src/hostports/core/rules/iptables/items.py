"""What each network, endpoint and binding adds to the ruleset, in iptables' words.

An element is a rule, in a chain where the order of rules doesn't matter.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from hostports.core.rules.data import Chain, Element, Fragment, Rule, Settings
from hostports.core.rules.effects import protected, source_ranges, translated
from hostports.core.rules.iptables import skeleton
from hostports.core.rules.iptables.place import chain_for, chain_of, place
from hostports.core.rules.state import Items
from hostports.model.address import Family, IPAddress, family, is_wildcard, spelled
from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode
from hostports.model.port import PortBinding, PublishMode, SocketAddress

_ICMP: Final = {Family.IPV4: "icmp", Family.IPV6: "ipv6-icmp"}
_DNATED: Final = "-m conntrack --ctstate DNAT"


def of_network(network: BridgeNetwork, settings: Settings) -> Fragment:
    """The chains of one bridge, and the rules that lead to them."""
    elements: list[Element] = []
    chains: list[Chain] = []
    for of in Family:
        elements += _elements(network, of, settings)
        chains += _chains(network, of, settings)
    return Fragment(tuple(elements), tuple(chains))


def of_endpoint(endpoint: Endpoint, settings: Settings) -> Fragment:
    """Protection of the endpoint's own addresses against other hosts, before connection tracking.

    Without masquerading the forward chain protects them, where answers can be told apart.
    """
    network = endpoint.network
    if network.ports_only:
        return Fragment(() if settings.relay else tuple(_back_to_itself(endpoint)))
    elements, chains = [], []
    for of in Family:
        ip = endpoint.address(of)
        if ip and network.masquerade and protected(network, of, settings):
            direct = _direct(network, of, "raw")
            chains.append(direct)
            jump = f"-d {ip} -j {chain_of('direct', network.bridge)}"
            elements.append(Element(place(of, "raw", skeleton.EARLY), jump))
    return Fragment(tuple(elements), tuple(chains))


def of_binding(binding: PortBinding, network: BridgeNetwork, settings: Settings) -> Fragment:
    """Destination NAT, forward accept, protections and counters of one binding."""
    if network.internal:
        return Fragment()
    of = family(binding.container_ip)
    same = family(binding.socket.ip) is of and binding.mode is PublishMode.NAT
    elements: list[Element] = []
    chains: list[Chain] = []
    own: list[Element] = []
    if same and _asks_for_ports(network, of):
        to = f"-d {spelled(binding.container_ip)} -p {binding.protocol.value}"
        accept = f"{to} --dport {binding.container_port} -j ACCEPT"
        elements.append(Element(_open_chain(network, of), accept))
        chains.append(Chain(_open_chain(network, of), ()))
    if not binding.routed:
        own += _loopback(binding.socket)
        if binding.allow_from:
            checks, chain = _allowlist(binding)
            own.append(checks)
            chains.append(chain)
        if same:
            own += [_dnat(binding, network, of, settings), _counter(binding, of)]
            counters, chain = _counting(binding.container_ip, of)
            elements += counters
            chains.append(chain)
    return Fragment(tuple(elements), tuple(chains), tuple(own))


def _back_to_itself(endpoint: Endpoint) -> Iterator[Element]:
    """A published port of its own; POSTROUTING doesn't know from which bridge a packet comes."""
    for ip in endpoint.addresses:
        own = f"-s {spelled(ip)} -d {spelled(ip)} {_DNATED} -j MASQUERADE"
        yield Element(place(family(ip), "nat", skeleton.OUT), own)


def _elements_of_somebody_elses(bridge: str, of: Family, settings: Settings) -> Iterator[Element]:
    """Nothing is decided about its traffic; but our guard would drop it."""
    yield Element(place(of, "filter", skeleton.BRIDGES), f"-i {bridge} -j {skeleton.ISOLATED}")
    if of in settings.guard:
        yield Element(place(of, "filter", skeleton.TO), f"-o {bridge} -j ACCEPT")
        yield Element(place(of, "filter", skeleton.REACH_OUT), f"-i {bridge} -j ACCEPT")
    if not settings.relay:
        own = f"-o {bridge} -m addrtype --src-type LOCAL -j MASQUERADE"
        yield Element(place(of, "nat", skeleton.OUT), own)


def _elements(network: BridgeNetwork, of: Family, settings: Settings) -> Iterator[Element]:
    bridge = network.bridge
    if network.ports_only:
        yield from _elements_of_somebody_elses(bridge, of, settings)
        return
    if network.internal:
        yield Element(place(of, "filter", skeleton.FROM), f"-i {bridge} ! -o {bridge} -j DROP")
    enter = f"-o {bridge} -j {chain_of('to', bridge)}"
    yield Element(place(of, "filter", skeleton.TO), enter)
    yield Element(place(of, "filter", skeleton.BRIDGES), f"-i {bridge} -j {skeleton.ISOLATED}")
    yield Element(place(of, "filter", skeleton.REACH_OUT), f"-i {bridge} -j ACCEPT")
    if translated(network, of):
        out, source = place(of, "nat", skeleton.OUT), _source(network, of)
        if network.masquerade:
            yield Element(out, f"-s {network.subnet(of)} ! -o {bridge} {source}")
        if not settings.relay:
            yield Element(out, f"-o {bridge} -m addrtype --src-type LOCAL {source}")
            if network.icc:
                neighbour = f"-s {network.subnet(of)} -o {bridge} {_DNATED}"
                yield Element(out, f"{neighbour} -j MASQUERADE")


def _chains(network: BridgeNetwork, of: Family, settings: Settings) -> Iterator[Chain]:
    if network.ports_only:
        return
    if _asks_for_ports(network, of):
        yield Chain(_open_chain(network, of), ())
    if not network.masquerade:
        yield _direct(network, of, "filter")
    rules = tuple(_to_bridge(network, of, settings))
    yield Chain(place(of, "filter", chain_of("to", network.bridge)), rules)


def _asks_for_ports(network: BridgeNetwork, of: Family) -> bool:
    """Whether published ports are reached, and others not."""
    unprotected = network.gateway_mode(of) is GatewayMode.NAT_UNPROTECTED
    return not (network.internal or network.ports_only or unprotected)


def _to_bridge(network: BridgeNetwork, of: Family, settings: Settings) -> Iterator[Rule]:
    bridge = network.bridge
    verdict = "ACCEPT" if network.icc else "DROP"
    between = Rule(f"-i {bridge} -j {verdict}", "between its containers")
    isolation = Rule(f"-j {skeleton.BRIDGES}", "other networks")
    if network.internal:
        if network.icc:
            yield between
        yield Rule("-j DROP", "internal: nothing enters")
        return
    if network.gateway_mode(of) is GatewayMode.NAT_UNPROTECTED:
        yield from (between, isolation, Rule("-j ACCEPT", "unprotected: every port"))
        return
    yield Rule("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "answers")
    if network.icc or not protected(network, of, settings):
        yield between
    if network.routed(of):
        yield Rule(f"-p {_ICMP[of]} -j ACCEPT", "routed: ICMP")
    elif settings.direct_routing:
        yield isolation
    elif not network.masquerade and protected(network, of, settings):
        yield Rule(f"-j {chain_of('direct', bridge)}", "container addresses")
    yield Rule(f"-j {chain_of('open', bridge)}", "published")
    yield Rule("-j DROP", "not published")


def _direct(network: BridgeNetwork, of: Family, table: str) -> Chain:
    """Who may reach containers by their own addresses."""
    published = () if network.masquerade else (Rule(f"{_DNATED} -j RETURN", "published"),)
    neighbours = (network.bridge,) if network.masquerade and network.icc else ()
    trusted = (
        Rule(f"-i {interface} -j RETURN", "may reach containers directly")
        for interface in (*neighbours, *network.trusted_host_interfaces)
    )
    rules = (*published, *trusted, Rule("-j DROP", "direct routing"))
    return Chain(place(of, table, chain_of("direct", network.bridge)), rules)


def _source(network: BridgeNetwork, of: Family) -> str:
    host_ip = network.host_ip(of)
    return f"-j SNAT --to-source {host_ip}" if host_ip else "-j MASQUERADE"


def _open_chain(network: BridgeNetwork, of: Family) -> str:
    return place(of, "filter", chain_of("open", network.bridge))


def _loopback(socket: SocketAddress) -> Iterator[Element]:
    if family(socket.ip) is Family.IPV4 and socket.ip.is_loopback:
        early = place(Family.IPV4, "raw", skeleton.EARLY)
        yield Element(early, f"! -i lo {_to_host(socket)} -j DROP")


def _to_host(socket: SocketAddress) -> str:
    """What a packet to a host port matches."""
    protocol = f"-p {socket.protocol.value} --dport {socket.port}"
    return protocol if is_wildcard(socket.ip) else f"-d {spelled(socket.ip)} {protocol}"


def _allowlist(binding: PortBinding) -> tuple[Element, Chain]:
    """A chain that lets the binding's sources through, and the way to it."""
    socket = binding.socket
    of = family(socket.ip)
    name = chain_for("allow", socket)
    sources = [
        Rule(f"-s {each} -j RETURN", "in the allowlist")
        for each in source_ranges(binding.allow_from, socket.ip)
    ]
    rules = (*sources, Rule("-j DROP", "source not in the allowlist"))
    to = f"{_to_host(socket)} -m addrtype --dst-type LOCAL -j {name}"
    return (
        Element(place(of, "mangle", skeleton.SOURCES), to),
        Chain(place(of, "mangle", name), rules),
    )


def _dnat(binding: PortBinding, network: BridgeNetwork, of: Family, settings: Settings) -> Element:
    """With the relay, a bridge's own containers meet that."""
    others = f"! -i {network.bridge} " if settings.relay else ""
    to = SocketAddress(binding.protocol, binding.container_ip, binding.container_port)
    destination = str(to).partition("/")[0]
    rule = f"{others}{_to_host(binding.socket)} -j DNAT --to-destination {destination}"
    return Element(place(of, "nat", skeleton.PUBLISH), rule)


def _counter(binding: PortBinding, of: Family) -> Element:
    """Counts packets of both directions, which have one original destination."""
    socket = binding.socket
    ip = "" if is_wildcard(socket.ip) else f"--ctorigdst {spelled(socket.ip)} "
    rule = f"-p {socket.protocol.value} -m conntrack {ip}--ctorigdstport {socket.port} -j RETURN"
    return Element(place(of, "mangle", chain_for("count", binding.container_ip)), rule)


def _counting(container_ip: IPAddress, of: Family) -> tuple[list[Element], Chain]:
    """A container's chain of counters, so that its packets meet only those."""
    traffic, name = place(of, "mangle", skeleton.TRAFFIC), chain_for("count", container_ip)
    ways = [Element(traffic, f"{way} {spelled(container_ip)} -j {name}") for way in ("-s", "-d")]
    return ways, Chain(place(of, "mangle", name), ())


def _static(settings: Settings) -> Mapping[str, int]:
    return {each.name: len(each.rules) for of in Family for each in skeleton.chains(of, settings)}


ITEMS: Final = Items(of_network, of_endpoint, of_binding, _static)

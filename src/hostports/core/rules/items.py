"""What each network, endpoint and binding adds to the ruleset (moby 28.5 iptabler, by effect)."""

from collections.abc import Iterator, Sequence
from typing import Final

from hostports.core.rules.data import Chain, Element, Fragment, Rule, Settings
from hostports.core.rules.effects import protected, source_ranges, translated
from hostports.model.address import Family, IPAddress, is_wildcard, spelled
from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode
from hostports.model.port import PortBinding, PublishMode, SocketAddress

_IP: Final = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_ICMP: Final = {Family.IPV4: "icmp", Family.IPV6: "ipv6-icmp"}


def of_network(network: BridgeNetwork, settings: Settings) -> Fragment:
    """The chains of one bridge, and the look-ups that lead to them."""
    bridge = f'"{network.bridge}"'
    if network.ports_only:
        return _of_somebody_elses(network, settings)
    chains = [
        Chain(_name("from", network), tuple(_from_bridge(network))),
        Chain(_name("to", network), tuple(_to_bridge(network, settings))),
    ]
    elements = [
        Element("bridges", bridge),
        Element("from_bridge", bridge, _jump("from", network)),
        Element("to_bridge", bridge, _jump("to", network)),
    ]
    if not network.masquerade:
        chains.insert(0, _direct(network))
    families = [of for of in Family if translated(network, of)]
    if network.masquerade and families:
        rules = tuple(_leaving(network, of) for of in families)
        chains.append(Chain(_name("nat", network), rules))
        elements += [
            Element(f"subnet{of}", str(network.subnet(of)), _jump("nat", network))
            for of in families
        ]
    if families and not settings.relay:
        rules = tuple(rule for of in families for rule in _hairpin(network, of))
        chains.append(Chain(_name("hairpin", network), rules))
        elements.append(Element("hairpin", bridge, _jump("hairpin", network)))
    return Fragment(tuple(elements), tuple(chains))


def _of_somebody_elses(network: BridgeNetwork, settings: Settings) -> Fragment:
    """Nothing is decided about its traffic; but our own rules must let it through.

    Our guard would drop it, and without a relay its own published ports need a way back.
    """
    bridge = f'"{network.bridge}"'
    elements = [
        Element("bridges", bridge),
        Element("to_bridge", bridge, _jump("to", network)),
    ]
    passing = Chain(_name("to", network), tuple(_every_port(of) for of in sorted(settings.guard)))
    if settings.relay:
        return Fragment(tuple(elements), (passing,))
    elements.append(Element("hairpin", bridge, _jump("hairpin", network)))
    back = (
        Rule(f"iifname {bridge} ct status dnat masquerade", "a published port of its own"),
        # br_netfilter names no interface for what goes from a port of a bridge to another.
        Rule("iif 0 ct status dnat masquerade", "the same within a bridge, and the host's own"),
    )
    return Fragment(tuple(elements), (passing, Chain(_name("hairpin", network), back)))


def of_endpoint(endpoint: Endpoint, settings: Settings) -> Fragment:
    """Protection of the endpoint's own addresses against other hosts, before connection tracking.

    Without masquerading, answers to its own connections come to these addresses, too; then the
    forward chain protects them, where answers can be told apart.
    """
    network = endpoint.network
    if not network.masquerade:
        return Fragment()
    elements = tuple(
        Element(f"protected{of}", str(ip), _jump("direct", network))
        for of in Family
        if (ip := endpoint.address(of)) and protected(network, of, settings)
    )
    return Fragment(elements, (_direct(network),)) if elements else Fragment()


def of_binding(binding: PortBinding, network: BridgeNetwork, settings: Settings) -> Fragment:
    """Destination NAT, forward accept, protections and counters of one binding."""
    if network.internal:
        return Fragment()
    socket, container_ip = binding.socket, spelled(binding.container_ip)
    number, protocol = binding.container_ip.version, binding.protocol.value
    port = binding.container_port
    translated = socket.ip.version == number and binding.mode is PublishMode.NAT
    opened = Element(f"open{number}", f"{container_ip} . {protocol} . {port}")
    own: list[Element] = []
    if not binding.routed:
        suffix, key = _host_side(socket)
        own += _source_checks(binding, socket.ip, suffix, key)
        if translated:
            own.append(Element(f"dnat{suffix}", key, f"{container_ip} . {port}"))
            own.append(Element(f"traffic{suffix}", key))
            if settings.relay:
                own.append(Element(f"own{suffix}", f'"{network.bridge}" . {key}'))
    return Fragment((opened,) if translated else (), own=tuple(own))


def _source_checks(
    binding: PortBinding, host_ip: IPAddress, suffix: str, key: str
) -> Iterator[Element]:
    if host_ip.version == Family.IPV4.value and host_ip.is_loopback:
        yield Element("loopback4", key)
    if binding.allow_from:
        yield Element(f"limited{suffix}", key)
        for source in source_ranges(binding.allow_from, host_ip):
            yield Element(f"allowed{suffix}", f"{key} . {source}")


def _host_side(socket: SocketAddress) -> tuple[str, str]:
    """Which of a pair of collections, and the key in it: any address needs none."""
    port = f"{socket.protocol.value} . {socket.port}"
    if is_wildcard(socket.ip):
        return f"_any{socket.ip.version}", port
    return f"{socket.ip.version}", f"{spelled(socket.ip)} . {port}"


def _from_bridge(network: BridgeNetwork) -> Iterator[Rule]:
    if network.internal:
        yield Rule(f'oifname != "{network.bridge}" counter drop', "internal: nothing leaves")


def _to_bridge(network: BridgeNetwork, settings: Settings) -> Iterator[Rule]:
    bridge = f'"{network.bridge}"'
    if network.internal:
        yield Rule(f"iifname != {bridge} counter drop", "internal: nothing enters")
        if not network.icc:
            yield Rule(f"iifname {bridge} counter drop", "between its containers")
        return
    families = [of for of in Family if network.subnet(of) is not None]
    own = list(_between_containers(network, families, settings))
    unprotected = GatewayMode.NAT_UNPROTECTED
    if all(network.gateway_mode(of) is unprotected for of in families):
        yield from own
        yield from (_isolation(of) for of in families)
        # Else the guard would have them.
        yield from (_every_port(of) for of in families if of in settings.guard)
        return
    yield Rule("ct state established,related accept", "answers")
    yield from own
    for of in families:
        yield from _entering(network, of, settings)
    yield Rule("counter drop", "not published")


def _between_containers(
    network: BridgeNetwork, families: Sequence[Family], settings: Settings
) -> Iterator[Rule]:
    """Without ICC, protected addresses need no rule here: the bridge may not reach them either."""
    all_protected = all(protected(network, of, settings) for of in families)
    verdict = "accept" if network.icc else "drop"
    if network.icc or not all_protected:
        yield Rule(f'iifname "{network.bridge}" counter {verdict}', "between its containers")


def _entering(network: BridgeNetwork, of: Family, settings: Settings) -> Iterator[Rule]:
    only = f"meta nfproto ipv{of}"
    if network.gateway_mode(of) is GatewayMode.NAT_UNPROTECTED:
        yield _isolation(of)
        yield _every_port(of)
        return
    if network.routed(of):
        yield Rule(f"{only} meta l4proto {_ICMP[of]} accept", "routed: ICMP")
    elif settings.direct_routing:
        yield _isolation(of)
    elif not network.masquerade and protected(network, of, settings):
        yield Rule(f"{only} {_jump('direct', network)}", "container addresses")
    yield Rule(f"{_IP[of]} daddr . meta l4proto . th dport @open{of} counter accept", "published")


def _every_port(of: Family) -> Rule:
    return Rule(f"meta nfproto ipv{of} counter accept", "unprotected: every port")


def _isolation(of: Family) -> Rule:
    return Rule(f"meta nfproto ipv{of} iifname @bridges jump isolated", "other networks")


def _direct(network: BridgeNetwork) -> Chain:
    """Who may reach containers by their own addresses."""
    rules = [] if network.masquerade else [Rule("ct status dnat return", "published")]
    neighbours = (network.bridge,) if network.masquerade and network.icc else ()
    for interface in (*neighbours, *network.trusted_host_interfaces):
        # iptables writes a wildcard as tun+, nft as tun*.
        name = interface[:-1] + "*" if interface.endswith("+") else interface
        rules.append(Rule(f'iifname "{name}" return', "may reach containers directly"))
    rules.append(Rule("counter drop", "direct routing"))
    return Chain(_name("direct", network), tuple(rules))


def _leaving(network: BridgeNetwork, of: Family) -> Rule:
    leaving = f'{_IP[of]} saddr {network.subnet(of)} oifname != "{network.bridge}"'
    return Rule(f"{leaving} {_source(network, of)}", "masquerade")


def _hairpin(network: BridgeNetwork, of: Family) -> Iterator[Rule]:
    """Without these the answer would go straight to the container, past the translation."""
    only, source = f"meta nfproto ipv{of}", _source(network, of)
    yield Rule(f"{only} fib saddr type local {source}", "the host's own connections")
    if network.icc:
        subnet = f"{_IP[of]} saddr {network.subnet(of)}"
        why = "a published port of a neighbour, or its own"
        yield Rule(f"{subnet} ct status dnat masquerade", why)


def _source(network: BridgeNetwork, of: Family) -> str:
    host_ip = network.host_ip(of)
    return f"snat {_IP[of]} to {host_ip}" if host_ip else "masquerade"


def _name(chain: str, network: BridgeNetwork) -> str:
    return f"{chain}_{network.bridge}"


def _jump(chain: str, network: BridgeNetwork) -> str:
    return f"jump {_name(chain, network)}"

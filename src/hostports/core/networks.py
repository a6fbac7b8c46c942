"""Which subnets and bridge a new network gets, and which addresses a new endpoint."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Final, TypeVar

from hostports.errors import NameTaken, NoAddressFree, UnusableValue
from hostports.model.address import Family, IPAddress, IPNetwork, family, unmapped
from hostports.model.links import HostLinks, Interface
from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode, refuse_unusable_name

#: Where free subnets are looked for, the first first; neither Docker nor Podman begin there.
_POOLS_IPV4: Final = (IPv4Network("10.87.0.0/16"), IPv4Network("172.16.0.0/12"))
_LENGTH_IPV4: Final = 24
#: fd00::/8, in which everybody may have a /48 and, for each network, a /64 of it (RFC 4193).
_ULA: Final = 0xFD
_MOST_SUBNETS: Final = 1 << 16
#: Addresses of a subnet that are looked at; more endpoints than this a bridge doesn't bear.
_MOST_ENDPOINTS: Final = 1 << 16
_LONGEST_INTERFACE: Final = 15
_BROADCAST: Final = IPv4Address("255.255.255.255")
#: What can be done with an interface that is no bridge.
_PORTS_ONLY: Final = "publish ports of what is behind it with --ports-only"

Address = TypeVar("Address", IPv4Address, IPv6Address)


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """A network to create: no `subnets` asks for free ones, no `bridge` for a name made of ours.

    With `ports_only`, nothing but `bridge` is asked for; see `BridgeNetwork`.

    At most one subnet per family; a network has the families of its subnets.
    """

    name: str
    bridge: str = ""
    subnets: tuple[IPNetwork, ...] = ()
    gateway_mode_ipv4: GatewayMode = GatewayMode.NAT
    gateway_mode_ipv6: GatewayMode = GatewayMode.NAT
    host_ipv4: IPv4Address | None = None
    host_ipv6: IPv6Address | None = None
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    trusted_host_interfaces: tuple[str, ...] = ()
    existing_bridge: bool = False
    ports_only: bool = False


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """An endpoint to add: a namespace to wire up, or addresses that somebody else brought up.

    With a `namespace`, an address that isn't given is the next free one of its family.
    """

    network: str
    name: str
    namespace: str = ""
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None


def bridge_name(network: str) -> str:
    """The name of a network's bridge where none is given."""
    return _interface_name("hp-", network)


def cable_name(endpoint: Endpoint) -> str:
    """The name of the host's end of the cable to an endpoint."""
    return _interface_name("hpv-", endpoint.name)


def hardware_address(endpoint: Endpoint) -> str | None:
    """One made of the IP address, as Docker's were before 28, for an endpoint that we wire up.

    So whoever knew a former endpoint by this IP address finds this one; with another hardware
    address it would be sent nothing until the neighbours have forgotten the former one.
    """
    ip = next(endpoint.addresses, None)
    if ip is None or not endpoint.namespace:
        return None
    last = ip.packed if len(ip.packed) == 4 else zlib.crc32(ip.packed).to_bytes(4, "big")
    return (b"\x02\x42" + last).hex(":")


def decide_network(
    request: NetworkRequest, networks: Iterable[BridgeNetwork], links: HostLinks
) -> BridgeNetwork:
    """The network that a request asks for.

    Raises `NameTaken` if its name, bridge or a subnet is in use, and `UnusableValue`.
    """
    refuse_unusable_name(request.name)
    others = list(networks)
    bridge = request.bridge or bridge_name(request.name)
    _refuse_taken(request.name, bridge, others)
    if request.ports_only:
        return _somebody_elses(request, links)
    _refuse_isolated(request)
    if request.existing_bridge:
        there = _existing(bridge, links, ports_only=False)
        subnets = request.subnets or _subnets_of(bridge, there)
    else:
        _refuse_existing(bridge, links)
        subnets = request.subnets or _free_subnets(request.name, others, links)
        _refuse_overlap(subnets, others, links)
    ipv4, ipv6 = _by_family(subnets)
    _refuse_source(request.host_ipv4, request.name, ipv4)
    _refuse_source(request.host_ipv6, request.name, ipv6)
    return BridgeNetwork(
        name=request.name,
        gateway_mode_ipv4=request.gateway_mode_ipv4,
        gateway_mode_ipv6=request.gateway_mode_ipv6,
        bridge=bridge,
        subnet_ipv4=ipv4,
        subnet_ipv6=ipv6,
        internal=request.internal,
        icc=request.icc,
        masquerade=request.masquerade,
        host_ipv4=request.host_ipv4,
        host_ipv6=request.host_ipv6,
        trusted_host_interfaces=request.trusted_host_interfaces,
        existing=request.existing_bridge,
    )


def _refuse_isolated(request: NetworkRequest) -> None:
    """Without a gateway nothing else can be reached (moby 28.5)."""
    modes = (request.gateway_mode_ipv4, request.gateway_mode_ipv6)
    if GatewayMode.ISOLATED in modes and not request.internal:
        raise UnusableValue(
            request.name,
            f"gateway mode {GatewayMode.ISOLATED.value!r} is for internal networks",
            "make it --internal, or choose another mode",
        )


def _somebody_elses(request: NetworkRequest, links: HostLinks) -> BridgeNetwork:
    """A network of which only ports are published; what else is asked for is not ours to do."""
    wanted = NetworkRequest(
        request.name,
        request.bridge,
        existing_bridge=request.existing_bridge,
        ports_only=True,
    )
    if not request.bridge:
        raise UnusableValue(
            request.name, "ports of which network are to be published?", "name its --bridge"
        )
    if request != wanted:
        raise UnusableValue(
            request.name,
            "--ports-only leaves all but ports to others",
            "give --bridge alone, or leave --ports-only out",
        )
    _existing(request.bridge, links, ports_only=True)
    return BridgeNetwork(
        request.name, bridge=request.bridge, masquerade=False, existing=True, ports_only=True
    )


def decide_endpoint(
    request: EndpointRequest, network: BridgeNetwork, endpoints: Iterable[Endpoint]
) -> Endpoint:
    """The endpoint that a request asks for.

    Raises `NameTaken` if its name, or an address on its network, is in use, and `UnusableValue`.
    """
    refuse_unusable_name(request.name)
    taken: dict[IPAddress, str] = {}
    for other in endpoints:
        if other.name == request.name:
            raise NameTaken(f"endpoint {request.name!r} is there already", "choose another name")
        if other.network == network:
            taken |= dict.fromkeys(other.addresses, other.name)
    ipv4, ipv6 = request.ipv4, request.ipv6
    if not request.namespace and ipv4 is None and ipv6 is None:
        raise UnusableValue(
            request.name, "it has neither a namespace nor an address", "give one of them"
        )
    if request.namespace and network.ports_only:
        raise UnusableValue(
            request.name,
            f"network {network.name!r} is for ports only, nobody is wired to it",
            "give the addresses that it has there",
        )
    for ip in (ipv4, ipv6):
        if ip is not None:
            _refuse_address(ip, network, taken)
    if request.namespace:
        if network.subnet_ipv4:
            ipv4 = ipv4 or _next_free(network.subnet_ipv4.hosts(), network, taken)
        if network.subnet_ipv6:
            ipv6 = ipv6 or _next_free(network.subnet_ipv6.hosts(), network, taken)
    return Endpoint(request.name, network, ipv4, ipv6, request.namespace)


def _interface_name(prefix: str, name: str) -> str:
    """A name of at most 15 characters: with a checksum where the whole doesn't fit."""
    if len(prefix + name) <= _LONGEST_INTERFACE:
        return prefix + name
    return f"{prefix}{zlib.crc32(name.encode()):08x}"


def _refuse_taken(name: str, bridge: str, others: Iterable[BridgeNetwork]) -> None:
    for other in others:
        if other.name == name:
            raise NameTaken(f"network {name!r} is there already", "choose another name")
        if other.bridge == bridge:
            raise NameTaken(
                f"bridge {bridge!r} belongs to network {other.name!r}", "choose another --bridge"
            )


def _refuse_existing(bridge: str, links: HostLinks) -> None:
    """Where an interface is, no bridge can be made; what else can be done with it is told."""
    if found := links.interfaces.get(bridge):
        use = "use it with --existing-bridge" if found.bridge else _PORTS_ONLY
        raise NameTaken(
            f"interface {bridge!r} is there already", f"choose another --bridge, or {use}"
        )


def _existing(bridge: str, links: HostLinks, *, ports_only: bool) -> Interface:
    """An interface of somebody else's, which has to be a bridge unless it is for ports only."""
    found = links.interfaces.get(bridge)
    if found is None:
        what = "interface" if ports_only else "bridge"
        raise UnusableValue(
            bridge, f"there is no such {what}", "make it first, or name another one"
        )
    if not (found.bridge or ports_only):
        raise UnusableValue(bridge, "it is no bridge", f"name one, or {_PORTS_ONLY}")
    return found


def _subnets_of(bridge: str, there: Interface) -> tuple[IPNetwork, ...]:
    """The first subnet of each family that somebody else's bridge has; not its link-local one."""
    subnets = {each.version: each for each in reversed(there.subnets) if not each.is_link_local}
    if not subnets:
        raise UnusableValue(bridge, "the bridge has no address", "give the network a --subnet")
    return tuple(subnets.values())


def _refuse_overlap(
    subnets: Iterable[IPNetwork], others: Iterable[BridgeNetwork], links: HostLinks
) -> None:
    used = _used(others, links)
    for subnet in subnets:
        for other, holder in used.items():
            if _overlap(subnet, other):
                raise NameTaken(
                    f"subnet {subnet} overlaps with {other} of {holder}", "choose another --subnet"
                )


def _used(others: Iterable[BridgeNetwork], links: HostLinks) -> dict[IPNetwork, str]:
    """Subnets that are in use, and by what."""
    used = {to: f"interface {interface!r}" for to, interface in links.routes.items()}
    for name, interface in links.interfaces.items():
        used |= dict.fromkeys(interface.subnets, f"interface {name!r}")
    for other in others:
        used |= {subnet: f"network {other.name!r}" for of in Family if (subnet := other.subnet(of))}
    return used


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)


def _free_subnets(
    name: str, others: Iterable[BridgeNetwork], links: HostLinks
) -> tuple[IPNetwork, ...]:
    """One of each family that the host has."""
    used = _used(others, links)
    ipv4 = _first_free(_candidates_ipv4(), used, "IPv4")
    if not links.ipv6:
        return (ipv4,)
    return ipv4, _first_free(_candidates_ipv6(name), used, "IPv6")


def _first_free(candidates: Iterable[IPNetwork], used: Iterable[IPNetwork], of: str) -> IPNetwork:
    taken = list(used)
    for subnet in candidates:
        if not any(_overlap(subnet, other) for other in taken):
            return subnet
    raise NoAddressFree(f"no private {of} subnet is free on this host", "give one with --subnet")


def _candidates_ipv4() -> Iterator[IPv4Network]:
    for pool in _POOLS_IPV4:
        yield from pool.subnets(new_prefix=_LENGTH_IPV4)


def _candidates_ipv6(name: str) -> Iterator[IPv6Network]:
    """Subnets of an own /48: 40 bits made of the name, where RFC 4193 takes a clock."""
    digest = hashlib.sha256(name.encode()).digest()
    start = int.from_bytes(bytes([_ULA, *digest[:5]]), "big") << 80
    for number in range(_MOST_SUBNETS):
        yield IPv6Network((start | number << 64, 64))


def _by_family(subnets: Iterable[IPNetwork]) -> tuple[IPv4Network | None, IPv6Network | None]:
    ipv4: IPv4Network | None = None
    ipv6: IPv6Network | None = None
    for subnet in subnets:
        _refuse_unfit(subnet)
        if isinstance(subnet, IPv4Network):
            _refuse_second(subnet, ipv4)
            ipv4 = subnet
        else:
            _refuse_second(subnet, ipv6)
            ipv6 = subnet
    return ipv4, ipv6


def _refuse_second(subnet: IPNetwork, first: IPNetwork | None) -> None:
    if first is not None:
        raise UnusableValue(
            str(subnet), f"{first} is the network's subnet of that family", "give one per family"
        )


def _refuse_unfit(subnet: IPNetwork) -> None:
    """A gateway and one endpoint are the least, and they must be hosts' addresses."""
    first, last = subnet[0], subnet[-1]
    special = subnet.is_multicast or subnet.is_loopback or subnet.is_link_local
    reserved = first.is_unspecified or last == _BROADCAST or unmapped(first) != first
    if special or reserved:
        raise UnusableValue(str(subnet), "its addresses are no hosts'", "give a private subnet")
    if subnet.max_prefixlen - subnet.prefixlen < 2:
        raise UnusableValue(str(subnet), "it has no room for endpoints", "give a larger subnet")


def _refuse_source(ip: IPAddress | None, network: str, subnet: IPNetwork | None) -> None:
    """Outgoing traffic has a source address of a family that the network has."""
    if ip is not None and subnet is None:
        raise UnusableValue(
            str(ip),
            f"network {network!r} has no IPv{ip.version}",
            f"leave --host-ipv{ip.version} out",
        )


def _refuse_address(ip: IPAddress, network: BridgeNetwork, taken: Mapping[IPAddress, str]) -> None:
    if network.ports_only:
        _refuse_special(ip)
    else:
        _refuse_outside(ip, network)
    if ip in taken:
        raise NameTaken(f"{ip} belongs to endpoint {taken[ip]!r}", "choose another address")


def _refuse_special(ip: IPAddress) -> None:
    """Others would become clients of the host's own services (CVE-2021-20199)."""
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local:
        raise UnusableValue(str(ip), "it is no endpoint's address", "choose another")


def _refuse_outside(ip: IPAddress, network: BridgeNetwork) -> None:
    of = family(ip)
    subnet = network.subnet(of)
    if subnet is None:
        raise UnusableValue(
            str(ip), f"network {network.name!r} has no IPv{ip.version}", "leave the address out"
        )
    if ip not in subnet:
        raise UnusableValue(str(ip), f"it is not in {subnet}", "choose another")
    if ip == subnet[0] or (of is Family.IPV4 and ip == subnet[-1]):
        raise UnusableValue(str(ip), f"it is no endpoint's address in {subnet}", "choose another")
    if ip == network.gateway(of):
        raise UnusableValue(
            str(ip), f"it is the gateway of network {network.name!r}", "choose another"
        )


def _next_free(
    hosts: Iterable[Address], network: BridgeNetwork, taken: Mapping[IPAddress, str]
) -> Address:
    for ip in islice(hosts, _MOST_ENDPOINTS):
        if ip not in taken and ip != network.gateway(family(ip)):
            return ip
    raise NoAddressFree(
        f"every address of network {network.name!r} is taken",
        "remove endpoints, or use another one",
    )

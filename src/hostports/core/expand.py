"""From specs to groups of bindings: one per address family and host address, in moby's order.

The rules are those of moby 28.5 (`addPortMappings`, `configurePortBindingIPv4` and `…IPv6`); what
we do otherwise stands in ``docs/differences.md``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from hostports.brackets import bracketed
from hostports.core.child import child_ip
from hostports.errors import (
    NoAddressToFollow,
    UnsupportedProtocol,
    UnusableValue,
)
from hostports.model.address import (
    ANY_IPV4,
    ANY_IPV6,
    Family,
    IPAddress,
    IPNetwork,
    family,
    is_wildcard,
    unmapped,
)
from hostports.model.host import Host, InterfaceAddress, PortDriverInfo
from hostports.model.network import Endpoint
from hostports.model.port import (
    PortRange,
    PortSpec,
    Protocol,
    ProxyProtocol,
    PublishMode,
)


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What one call to publish asks for; all of it is published or nothing.

    `default_host_ip` stands for a spec's missing host address; 0.0.0.0 means IPv4 and IPv6.
    `relay_6to4` False forbids that the relay carries host IPv6 to an endpoint with only IPv4.
    `mode` RELAY makes no rules but leaves all to the relay, whatever the gateway mode. Only sources
    in `allow_from` get through; empty means all. With `proxy_protocol` the mode is always RELAY:
    only the relay can write the header, and DNAT would lead clients past it. `former` are the host
    ports that the endpoint's container ports had last, proposed first where any of several will do.
    """

    endpoint: Endpoint
    specs: Sequence[PortSpec]
    default_host_ip: IPAddress = ANY_IPV4
    relay_6to4: bool = True
    mode: PublishMode = PublishMode.NAT
    allow_from: tuple[IPNetwork, ...] = ()
    proxy_protocol: ProxyProtocol | None = None
    former: Mapping[tuple[Protocol, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "default_host_ip", unmapped(self.default_host_ip))
        if self.proxy_protocol is not None:
            object.__setattr__(self, "mode", PublishMode.RELAY)

    @property
    def interfaces(self) -> set[str]:
        """The interfaces that specs mean, by name; the circumstances have their addresses."""
        return {each.interface for each in self.specs if each.follows}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the outcome of a request depends on besides the request.

    `relay` says whether there is a userland proxy; `driver` is RootlessKit's port driver.
    `addresses` are those of the interfaces that are meant, as far as these are there.
    """

    host: Host = field(default_factory=Host)
    relay: bool = True
    driver: PortDriverInfo = field(default_factory=PortDriverInfo)
    addresses: Mapping[str, Sequence[InterfaceAddress]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """One binding of a group before it has a port.

    `child_ip` is where RootlessKit forwards to; None where the socket is on the host address.
    `interface` is the one that it follows.
    """

    host_ip: IPAddress
    container_ip: IPAddress
    routed: bool = False
    child_ip: IPAddress | None = None
    interface: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class PortGroup:
    """Bindings of one container port that share one host port; `ports` None means a dynamic one.

    The `former` port is proposed first, where it is one of them. `interfaces` are those that are
    followed, by name, also where another spec covers all their addresses.
    """

    protocol: Protocol
    container_port: int
    ports: PortRange | None
    members: tuple[Member, ...]
    mode: PublishMode = PublishMode.NAT
    allow_from: tuple[IPNetwork, ...] = ()
    proxy_protocol: ProxyProtocol | None = None
    former: int | None = None
    interfaces: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether exactly one host port will do, so that no other can help."""
        return self.ports is not None and len(self.ports) == 1

    @property
    def takes_port(self) -> bool:
        """Whether any member needs a host port, not all being routed."""
        return not all(member.routed for member in self.members)


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a request comes to: groups in order of allocation, and what its sender should know."""

    groups: tuple[PortGroup, ...]
    warnings: tuple[str, ...]


def expand(request: PublishRequest, around: Circumstances) -> Expansion:
    """Sort the specs, expand each to its families, and group those that share a host port.

    An internal network has no published ports (moby 28.5).

    Raises `UnsupportedProtocol` if a host port would need a socket that the kernel doesn't have,
    `NoAddressToFollow` if an interface has no address that can lead to the endpoint, and
    `UnusableValue` if only the relay may serve the ports and there is none, if the PROXY protocol
    is asked for with another protocol than TCP, or if RootlessKit hides who a client is, or the
    interface.
    """
    _refuse_unusable(request, around)
    network = request.endpoint.network
    if network.internal:
        return Expansion((), (f"nothing is published: network {network.name!r} is internal",))
    followed = request.interfaces
    groups: list[PortGroup] = []
    warnings: list[str] = []
    for _, shared in groupby(sorted(request.specs, key=_order), key=_port_sharing):
        specs = tuple(shared)
        members = [member for spec in specs for member in _members(request, around, spec, warnings)]
        if members:
            spec = specs[0]
            kept = tuple(_without_overlaps(spec, members, warnings))
            warnings += _out_of_reach(spec, kept, around)
            group = PortGroup(
                spec.protocol,
                spec.container_port,
                spec.host_ports,
                kept,
                request.mode,
                request.allow_from,
                request.proxy_protocol,
                request.former.get((spec.protocol, spec.container_port)),
                _followed(specs) if followed else (),
            )
            _refuse_unsupported(group, around)
            groups.append(group)
    return Expansion(tuple(groups), tuple(warnings))


def _refuse_unusable(request: PublishRequest, around: Circumstances) -> None:
    if request.proxy_protocol is not None:
        for spec in request.specs:
            if spec.protocol is not Protocol.TCP:
                raise UnusableValue(
                    str(spec), "the PROXY protocol is for TCP only", "publish it without"
                )
    if request.mode is PublishMode.RELAY and not around.relay:
        asked = request.proxy_protocol or request.mode
        what = "the PROXY protocol" if request.proxy_protocol else "this publish mode"
        raise UnusableValue(
            asked.value, f"{what} needs the relay", "start the daemon without --no-relay"
        )
    if around.driver.hides_clients and (request.allow_from or request.proxy_protocol):
        wanted = request.allow_from[0] if request.allow_from else "the PROXY protocol"
        raise UnusableValue(
            str(wanted),
            f"RootlessKit's port driver {around.driver.name!r} hides who a client is",
            "start RootlessKit with --port-driver=slirp4netns, or publish without",
        )
    if around.driver.forwards and request.interfaces:
        raise UnusableValue(
            min(request.interfaces),
            "the host's interfaces can't be seen from inside RootlessKit",
            "write an address of the host",
        )


def _order(spec: PortSpec) -> tuple[object, ...]:
    """Exact ports first, so that no range or dynamic port takes one that another spec needs."""
    return (
        not spec.exact,
        *_port_order(spec),
        spec.follows,  # so that of an address that is asked for twice, the one by itself counts
        _ip_order(spec.host_ip),
        spec.interface,
        _ip_order(spec.container_ip),
    )


def _port_order(spec: PortSpec) -> tuple[int, ...]:
    ports = (spec.host_ports.first, spec.host_ports.last) if spec.host_ports else (0, 0)
    return (spec.container_port, spec.protocol.number, *ports)


def _ip_order(ip: IPAddress | None) -> tuple[int, ...]:
    """Unset, then IPv4, then IPv6, each ascending."""
    return () if ip is None else (ip.version, int(ip))


def _followed(specs: Iterable[PortSpec]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.interface for each in specs if each.follows))


def _port_sharing(spec: PortSpec) -> tuple[object, ...]:
    """Neighbours that agree in this share one host port: only their host addresses differ."""
    return (_port_order(spec), spec.container_ip)


def _members(
    request: PublishRequest, around: Circumstances, spec: PortSpec, warnings: list[str]
) -> Iterator[Member]:
    """What one spec gives, IPv4 before IPv6; a spec that gives nothing gives a warning."""
    found = list(members(request, around, spec))
    if _lacks_address(request, around, spec, found):
        is_there = spec.interface in around.addresses
        raise NoAddressToFollow(str(spec), spec.interface, request.endpoint.name, is_there=is_there)
    if not found:
        warnings.append(_publishes_nothing(request, spec))
    for member in found:
        if member.routed and (spec.host_ports or spec.host_ip or spec.interface):
            warnings.append(_host_side_ignored(request, spec, member))
        if member.routed or _forwardable(around.driver, spec.protocol, member):
            yield member
        else:
            warnings.append(_not_forwardable(around.driver, spec, member))


def members(request: PublishRequest, around: Circumstances, spec: PortSpec) -> Iterator[Member]:
    """What one spec means, IPv4 before IPv6, whether it can be had or not."""
    for of in Family:
        container_ip = _container_ip(request, around, of)
        if container_ip is None:
            continue
        routed = _routed(request, of)
        if routed and (spec.follows or _host_ip(request, around, spec, of)):
            yield Member(of.wildcard, container_ip, routed=True, interface=spec.interface)
        elif spec.follows and not routed:
            for host_ip in _followed_ips(around, spec.interface, of):
                yield Member(host_ip, container_ip, interface=spec.interface)
        elif not routed and (one := _host_ip(request, around, spec, of)):
            child = child_ip(around.driver, one)
            yield Member(one, container_ip, child_ip=child, interface=spec.interface)


def _routed(request: PublishRequest, of: Family) -> bool:
    return request.mode is PublishMode.NAT and request.endpoint.network.routed(of)


def _followed_ips(around: Circumstances, interface: str, of: Family) -> list[IPAddress]:
    """Each once: the kernel has an address twice, if with another prefix length."""
    there = around.addresses.get(interface, ())
    return list(
        dict.fromkeys(each.ip for each in there if each.publishable and family(each.ip) is of)
    )


def _lacks_address(
    request: PublishRequest, around: Circumstances, spec: PortSpec, found: Sequence[Member]
) -> bool:
    """Whether an interface has no address for a host port, which it could have."""
    reachable = [of for of in Family if _container_ip(request, around, of)]
    return (
        spec.follows
        and all(each.routed for each in found)
        and not all(_routed(request, of) for of in reachable)
    )


def _host_ip(
    request: PublishRequest, around: Circumstances, spec: PortSpec, of: Family
) -> IPAddress | None:
    """The host address that a spec means in one family, if it means that family at all."""
    if spec.host_ip is None and request.default_host_ip == ANY_IPV4 and of is Family.IPV6:
        return ANY_IPV6 if around.host.listens_on_ipv6 else None
    wanted = spec.host_ip or request.default_host_ip
    return wanted if family(wanted) is of else None


def _container_ip(request: PublishRequest, around: Circumstances, of: Family) -> IPAddress | None:
    """The endpoint's address behind host addresses of one family; the relay takes IPv6 to IPv4."""
    if of is Family.IPV6 and request.endpoint.ipv6 is None:
        return request.endpoint.ipv4 if around.relay and request.relay_6to4 else None
    return request.endpoint.address(of)


def _forwardable(driver: PortDriverInfo, protocol: Protocol, member: Member) -> bool:
    return not driver.forwards or driver.supports(protocol, family(member.host_ip))


def _without_overlaps(
    spec: PortSpec, members: Sequence[Member], warnings: list[str]
) -> Iterator[Member]:
    """Each binding once, and no address beside the wildcard that covers it.

    Two sockets of one port on such addresses can't both listen, or steal from each other (UDP).
    """
    wildcards = {member.host_ip for member in members if is_wildcard(member.host_ip)}
    seen: set[Member] = set()
    for member in members:
        wildcard = family(member.host_ip).wildcard
        if member in seen:
            if not member.routed:
                warnings.append(f"{_words(spec, member)}: asked for twice, published once")
        elif wildcard in wildcards and member.host_ip != wildcard:
            warnings.append(f"{_words(spec, member)}: covered by {bracketed(wildcard)}, left out")
        else:
            seen.add(member)
            yield member


def _out_of_reach(spec: PortSpec, members: Iterable[Member], around: Circumstances) -> list[str]:
    """The kernel leads nothing from loopback to a container, so that is left to the relay."""
    return [
        f"{_words(spec, each)}: nobody can reach it: only the relay serves loopback, and it is off"
        for each in members
        if not around.relay and (each.child_ip or each.host_ip).is_loopback
    ]


def _refuse_unsupported(group: PortGroup, around: Circumstances) -> None:
    if group.takes_port and group.protocol not in around.host.protocols:
        name = group.protocol.value
        raise UnsupportedProtocol(
            f"{group.container_port}/{name} can't be published: "
            f"this kernel has no {name.upper()} sockets",
            f"load the kernel module {name}, or leave the port out",
        )


def _publishes_nothing(request: PublishRequest, spec: PortSpec) -> str:
    host_ip = spec.host_ip or request.default_host_ip
    return (
        f"{spec}: nothing is published: endpoint {request.endpoint.name!r} has no address that "
        f"host address {host_ip} can lead to"
    )


def _host_side_ignored(request: PublishRequest, spec: PortSpec, member: Member) -> str:
    network = request.endpoint.network.name
    return (
        f"{spec}: host address and host port are ignored: "
        f"network {network!r} is routed for IPv{member.host_ip.version}"
    )


def _not_forwardable(driver: PortDriverInfo, spec: PortSpec, member: Member) -> str:
    return (
        f"{_words(spec, member)}: left out: RootlessKit's port driver {driver.name!r} "
        f"can't forward {spec.protocol.value} over IPv{member.host_ip.version}"
    )


def _words(spec: PortSpec, member: Member) -> str:
    """A member as ``-p`` would ask for it."""
    return str(replace(spec, host_ip=member.host_ip))

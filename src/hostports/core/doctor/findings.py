"""What the doctor says: of the host, of each published port, problems first."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hostports.brackets import bracketed
from hostports.core.doctor.host import Host
from hostports.core.doctor.journey import Journey, Route, Trouble, from_host, listens, travel
from hostports.core.doctor.mend import mend
from hostports.core.doctor.packet import Packet
from hostports.core.doctor.walk import along
from hostports.core.rules.settings import BRIDGE_CALLS, FORWARDING, of_interface
from hostports.errors import HostportsError
from hostports.model.address import Family
from hostports.model.condition import Condition, Inside, OurFirewall
from hostports.model.event import Finding, Severity
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, PortRange, Protocol, SocketAddress

_ORDER: Final = list(reversed(Severity))
#: Findings that differ in nothing but their mend.
_MOST_ALIKE: Final = 4
#: In a finding, what stands for the container ports of all that it is about.
_INSIDE: Final = "<container ports>"
#: A port that nobody has published, to see what would become of one.
_EXAMPLE: Final = 8080


@dataclass(frozen=True, slots=True)
class Record:
    """What is published, and what is wrong with it already.

    `lost` are ports that could not be had, and why. `relay` is whether there is one, and `silent`
    why it can't be asked. With `strict_forward_ports` firewalld forwards only for itself.
    `detached` are endpoints whose namespace or cable has gone. `followings` are interfaces that
    ports follow.
    """

    networks: Sequence[BridgeNetwork] = ()
    endpoints: Sequence[Endpoint] = ()
    bindings: Sequence[PortBinding] = ()
    lost: Sequence[tuple[PortBinding, HostportsError]] = ()
    relay: bool = True
    silent: HostportsError | None = None
    strict_forward_ports: bool = False
    detached: Sequence[Endpoint] = ()
    followings: Sequence[Following] = ()


def findings(condition: Condition, record: Record) -> list[Finding]:
    """All there is to say, problems first; one that says so where nothing is wrong."""
    host = Host(condition)
    found = [
        *_ours(host, record),
        *_settings(host, record.networks),
        *_sources(host, record.networks),
        *_detached(record),
        *_followings(host, record),
        *_unfollowed(host),
        *_unpublished(host, record),
        *_ports(host, record),
    ]
    return sorted(found, key=lambda each: _ORDER.index(each.severity)) or [
        Finding(Severity.OK, "nothing on this host keeps published ports from being reached")
    ]


def _ours(host: Host, record: Record) -> Iterator[Finding]:
    if missing := host.missing():
        what = f"our {missing} gone, so only the relay serves published ports"
        yield Finding(Severity.PROBLEM, what, "hostports reload")
    if record.strict_forward_ports:
        what = "firewalld drops what others than itself have translated (StrictForwardPorts=yes)"
        yield Finding(Severity.PROBLEM, what, _STRICT)
    if record.silent is not None:
        hint = record.silent.hint or "restart the daemon"
        yield Finding(Severity.PROBLEM, record.silent.message, hint)
    for binding, error in record.lost:
        hint = f"{error.hint}; it comes back by itself then, or unpublish it"
        what = f"{binding} is lost: {error.message}"
        yield Finding(Severity.PROBLEM, what, hint, ports=(str(binding.host_socket),))


_STRICT: Final = (
    "publish with --mode relay and open the ports with `firewall-cmd --add-port`, "
    "or set StrictForwardPorts=no in /etc/firewalld/firewalld.conf"
)


def _detached(record: Record) -> Iterator[Finding]:
    """Endpoints that nothing leads to, whatever the rules say."""
    for each in record.detached:
        what = f"endpoint {each.name!r} is not attached: its namespace has gone, or was made anew"
        mend = f"`hostports endpoint rm {each.name}`, which unpublishes its ports, and add it anew"
        if not each.of_process:
            mend = f"make it again, and `hostports reload`; or {mend}"
        ports = (str(one.host_socket) for one in record.bindings if one.endpoint == each.name)
        yield Finding(Severity.PROBLEM, what, mend, ports=tuple(ports))


def _followings(host: Host, record: Record) -> Iterator[Finding]:
    """Followed interfaces without an address: no binding shows that a port is wanted there."""
    near = defaultdict[tuple[str, Protocol, int, int], list[PortBinding]](list)
    for binding in (*record.bindings, *(binding for binding, _ in record.lost)):
        near[_wanted(binding)].append(binding)
    for each in record.followings:
        if not any(_serves(binding, each, host) for binding in near[_wanted(each)]):
            what = f"{each.endpoint} {each}: {each.interface} has no address to publish it on"
            mend = "give it one, and it is published by itself; or unpublish it"
            yield Finding(Severity.WARNING, what, mend)


def _serves(binding: PortBinding, following: Following, host: Host) -> bool:
    """Whether a binding of the same ports is of a following, or covers its interface as well."""
    own = [each.ip for each in host.condition.interfaces.get(following.interface, ())]
    ip = binding.host_ip
    return binding.interface == following.interface or ip.is_unspecified or ip in own


def _wanted(item: PortBinding | Following) -> tuple[str, Protocol, int, int]:
    return item.endpoint, item.protocol, item.host_port, item.container_port


def _settings(host: Host, networks: Sequence[BridgeNetwork]) -> Iterator[Finding]:
    """Kernel settings that networks need, or that hurt."""
    if host.condition.ours is OurFirewall.NONE:
        return
    for of in Family:
        some = [each for each in networks if each.subnet(of)]
        if any(not each.internal for each in some) and not host.forwards(of):
            what = f"the host does not forward IPv{of.value}, so only the relay reaches containers"
            yield Finding(Severity.PROBLEM, what, f"sysctl -w {FORWARDING[of][-1]}=1")
        apart = [each.name for each in some if not each.icc]
        calls = host.condition.settings.get(BRIDGE_CALLS[of], "")
        if apart and calls != "1":
            why = f"{BRIDGE_CALLS[of]} is not 1" if calls else "br_netfilter is not loaded"
            what = (
                f"containers of network {', '.join(apart)} can talk to each other by "
                f"IPv{of.value}, as {why}"
            )
            load = "" if calls else "modprobe br_netfilter && "
            yield Finding(Severity.WARNING, what, f"{load}sysctl -w {BRIDGE_CALLS[of]}=1")
    yield from _reverse_paths(host)


def _reverse_paths(host: Host) -> Iterator[Finding]:
    """The strict check drops clients whose answers would leave by another interface (RFC 3704)."""
    for name in host.strict_uplinks():
        what = (
            f"clients that come by {name} are dropped, as answers to them leave by "
            f"{host.condition.uplinks[Family.IPV4][0]} and rp_filter is strict"
        )
        yield Finding(Severity.WARNING, what, f"sysctl -w {of_interface(name, 'rp_filter')}=2")


def _sources(host: Host, networks: Sequence[BridgeNetwork]) -> Iterator[Finding]:
    """Outgoing traffic whose answers may go elsewhere."""
    for network in networks:
        for of in Family:
            ip = network.host_ip(of)
            if ip is not None and ip not in host.addresses:
                what = (
                    f"outgoing traffic of network {network.name} has the source {ip}, which no "
                    "interface of the host has, so answers come only if somebody routes them here"
                )
                yield Finding(Severity.WARNING, what, "give it to an interface")


def _unfollowed(host: Host) -> Iterator[Finding]:
    """What we don't look at is said."""
    for of in host.condition.unread:
        command = "iptables" if of is Family.IPV4 else "ip6tables"
        what = f"{command}-legacy has rules on this host that we can't read"
        yield Finding(Severity.WARNING, what, "install iptables, and ask again")
    for table in host.ruleset.tables:
        if table.family in ("bridge", "arp"):
            what = f"table {table} sees packets of bridges, and is not followed here"
            command = f"look at `nft list table {table}`"
            yield Finding(Severity.WARNING, what, command)


def _unpublished(host: Host, record: Record) -> Iterator[Finding]:
    """What would become of ports on networks that have none yet."""
    used = {(each.network, each.container_ip.version) for each in record.bindings}
    bridges = {each.bridge for each in record.networks}
    seen: set[str] = set()
    for network in record.networks:
        for of in Family:
            trouble = _example(host, network, of, bridges)
            if trouble and (network.name, of.value) not in used and trouble.what not in seen:
                seen.add(trouble.what)
                yield _said(trouble, "ports published by NAT would not be reached")


def _example(host: Host, network: BridgeNetwork, of: Family, bridges: set[str]) -> Trouble | None:
    subnet, client = network.subnet(of), host.client(of, bridges)
    if (
        subnet is None
        or client is None
        or network.internal
        or host.condition.ours is OurFirewall.NONE
    ):
        return None
    packet = Packet(
        Protocol.TCP.value,
        client.ip,
        subnet[2],
        _EXAMPLE,
        _EXAMPLE,
        iif=client.interface,
        oif=network.bridge,
        host=host.addresses,
        translated=not network.routed(of),
        original=(host.address(client.interface, of), _EXAMPLE),
    )
    passage = along(host.others(), packet, ("forward", "postrouting"))
    if passage.stop is None:
        return None
    what = f"what we forward is {passage.stop.act.value} in {passage.stop}"
    return Trouble(what, passage.packet, passage.stop)


def _ports(host: Host, record: Record) -> Iterator[Finding]:
    """Of each port of an attached endpoint whether it is reached; the same fate is told once."""
    networks = {each.name: each for each in record.networks}
    endpoints = {each.name: each for each in record.endpoints}
    bridges = {each.bridge for each in record.networks}
    lost = {binding for binding, _ in record.lost}
    detached = {each.name for each in record.detached}
    fates: defaultdict[Finding, list[PortBinding]] = defaultdict(list)
    for binding in record.bindings:
        if binding in lost or binding.network not in networks or binding.endpoint in detached:
            continue
        inside = _inside(host, endpoints.get(binding.endpoint))
        route = Route(host, binding, networks[binding.network], record.relay, inside)
        silence = _silence(binding, inside)
        for fate in _fates(route, bridges):
            quiet = silence if fate.severity is Severity.OK else None
            fates[quiet or fate].append(binding)
    for fate, bindings in _merged(fates).items():
        yield _named(fate, bindings)


def _merged(fates: Mapping[Finding, list[PortBinding]]) -> dict[Finding, list[PortBinding]]:
    """The same, but where only the mends are different, and many: then the first one stands."""
    alike: defaultdict[Finding, list[Finding]] = defaultdict(list)
    for fate in fates:
        alike[replace(fate, mend="")].append(fate)
    merged = {}
    for some in alike.values():
        if len(some) > _MOST_ALIKE:
            mend = f"{some[0].mend}  # and so for the others, {len(some)} in all"
            bindings = [each for fate in some for each in fates[fate]]
            merged[replace(some[0], mend=mend)] = bindings
        else:
            merged.update({fate: fates[fate] for fate in some})
    return merged


_NOBODY: Final = Finding(Severity.OK, "no other host can come to it: no interface has its family")
_NOT_LET_IN: Final = Finding(Severity.OK, "its allowlist lets nobody of its family in")


def _fates(route: Route, bridges: set[str]) -> list[Finding]:
    """What becomes of clients, by the ways that they come; those with the same fate together."""
    binding, host = route.binding, route.host
    ip = binding.socket.ip
    if binding.allow_from and all(each.version != ip.version for each in binding.allow_from):
        return [_NOT_LET_IN]
    if not binding.routed and ip.is_loopback:
        return list(_told(from_host(route), "this host"))
    if not (binding.routed or ip.is_unspecified or ip in host.addresses):
        return [Finding(Severity.PROBLEM, f"no interface of the host has {ip}", _ADD)]
    journeys: defaultdict[Journey, list[str]] = defaultdict(list)
    for client in host.clients(binding, bridges):
        journey = travel(route, client)
        alike = next((each for each in journeys if each.same(journey)), journey)
        journeys[alike].append(client.interface)
    fates = [
        fate for journey, names in journeys.items() for fate in _told(journey, " and ".join(names))
    ]
    return fates or [_NOBODY]


_ADD: Final = "give it to an interface, or publish on another address"


def _told(journey: Journey, where: str) -> Iterator[Finding]:
    """What ends a journey for certain; else all that may."""
    if not journey.troubles:
        yield Finding(Severity.OK, f"reached from {where} by {journey.way}")
        return
    last = journey.troubles[-1]
    for trouble in [last] if last.certain else journey.troubles:
        yield _said(trouble, f"not reached from {where}")


def _said(trouble: Trouble, subject: str) -> Finding:
    command = mend(trouble.place, trouble.packet) if trouble.place else trouble.mend
    if not trouble.certain:
        subject = subject.replace("not reached", "perhaps not reached")
    return Finding(
        Severity.PROBLEM if trouble.certain else Severity.WARNING,
        f"{subject}: {trouble.what}",
        command,
        str(trouble.place or ""),
    )


def _inside(host: Host, endpoint: Endpoint | None) -> Inside | None:
    return host.condition.inside.get(endpoint.namespace) if endpoint else None


def _silence(binding: PortBinding, inside: Inside | None) -> Finding | None:
    """What to say where nobody listens in a namespace that we can look into."""
    to = SocketAddress(binding.protocol, binding.container_ip, binding.container_port)
    if inside is None or listens(to, inside.listening):
        return None
    others = [
        each.ip for each in inside.listening if (each.port, each.protocol) == (to.port, to.protocol)
    ]
    where = f" but on {bracketed(others[0])}" if others else ""
    what = f"nothing in {binding.endpoint} listens on port {_INSIDE}{where}"
    return Finding(
        Severity.WARNING, what, f"start its service, and let it listen on {bracketed(to.ip)}"
    )


def _named(fate: Finding, bindings: Sequence[PortBinding]) -> Finding:
    """A finding, begun with the ports that it is about."""
    groups: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for each in bindings:
        ip = each.container_ip if each.routed else each.host_ip
        port = each.container_port if each.routed else each.host_port
        groups[each.endpoint, bracketed(ip), each.protocol.value].append(port)
    named = [
        f"{endpoint} {ip}:{_joined(ports)}/{protocol}"
        for (endpoint, ip, protocol), ports in groups.items()
    ]
    inside = _joined(each.container_port for each in bindings)
    what = fate.what.replace(_INSIDE, f"{inside}/{bindings[0].protocol.value}")
    ports = tuple(str(each.host_socket) for each in bindings)
    return replace(fate, what=f"{', '.join(named)}: {what}", ports=ports)


def _joined(ports: Iterable[int]) -> str:
    """Ports as few ranges, in order."""
    found: list[PortRange] = []
    for port in sorted(set(ports)):
        if found and port == found[-1].last + 1:
            found[-1] = PortRange(found[-1].first, port)
        else:
            found.append(PortRange.single(port))
    return ",".join(map(str, found))

"""A client's connection to a published port, leg by leg, there and back."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Final

from hostports.core.doctor import faults
from hostports.core.doctor.host import Client, Host
from hostports.core.doctor.packet import Packet
from hostports.core.doctor.walk import Passage, Place, along
from hostports.model.address import family
from hostports.model.condition import Inside
from hostports.model.network import BridgeNetwork
from hostports.model.port import PortBinding, Protocol, PublishMode, SocketAddress

#: A client's own port: any of the usual dynamic ones (RFC 6335 6).
_CLIENT_PORT: Final = 50077
_ARRIVING: Final = ("ingress", "prerouting")
_LEAVING: Final = ("postrouting", "egress")
#: What an operator does when our side is broken.
_RESTART: Final = "systemctl restart hostports"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What ends a journey, or may: `what` is a sentence without its subject.

    Either at a `place` in a ruleset, where `packet` is what came there; or a fact with its `mend`.
    """

    what: str
    packet: Packet
    place: Place | None = None
    mend: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """By which way a client would reach a port, and what is in the way; certain trouble last."""

    way: str
    troubles: tuple[Trouble, ...] = ()

    def same(self, other: "Journey") -> bool:
        """Whether the same is said of both, whoever the clients are."""
        said = [each.what for each in self.troubles]
        return (self.way, said) == (other.way, [each.what for each in other.troubles])


@dataclass(frozen=True, slots=True)
class Route:
    """Whom a journey leads to, whether a relay stands between, and what is at the other end.

    `inside` is None where nobody could look.
    """

    host: Host
    binding: PortBinding
    network: BridgeNetwork
    relay: bool
    inside: Inside | None = None


def travel(route: Route, client: Client) -> Journey:
    """Lead a client's first packet, and the answers, through everything on their way."""
    return _journey("NAT", _steps(route, client))


def from_host(route: Route) -> Journey:
    """The same for a port on loopback, whose clients are on the host itself."""
    return _journey("the relay", _steps_on_host(route))


def _journey(way: str, steps: Iterator[str | Trouble]) -> Journey:
    """Go on until something is certainly in the way."""
    troubles: list[Trouble] = []
    for step in steps:
        if isinstance(step, str):
            way = step
            continue
        troubles.append(step)
        if step.certain:
            break
    return Journey(way, tuple(troubles))


def _steps_on_host(route: Route) -> Iterator[str | Trouble]:
    """By loopback, where a packet leaves and comes in again; NAT sees it when it leaves."""
    here, whose = Client("lo", route.binding.socket.ip), "a client's packet on the host"
    first = _first(route, here)
    yield from _leg(route, replace(first, iif="", oif="lo"), ("output", "postrouting"), whose)
    again = replace(first, settled=True)
    yield from _leg(route, again, ("prerouting",), whose)
    yield from _to_relay(route, again, here)


def _steps(route: Route, client: Client) -> Iterator[str | Trouble]:
    """What happens: the way that is taken, and troubles in their order."""
    first = _first(route, client)
    arrived = along(route.host.ruleset, first, _ARRIVING)
    yield from _troubles(first, arrived, "a client's packet")
    packet = arrived.packet
    goal = (route.binding.container_ip, route.binding.container_port)
    if arrived.led and (packet.destination, packet.dport) != goal:
        yield _led_astray(packet, arrived.led)
    elif first.here(packet.destination):
        yield from _to_relay(route, packet, client)
    else:
        yield "routing" if route.binding.routed else "NAT"
        yield from _forwarded(route, packet)


def _first(route: Route, client: Client) -> Packet:
    """A client's first packet as it comes in."""
    binding, host = route.binding, route.host
    if binding.routed:
        to, port = binding.container_ip, binding.container_port
    else:
        to, port = binding.socket.ip, binding.socket.port
        if to.is_unspecified:
            to = host.address(client.interface, family(to))
    return Packet(
        binding.protocol.value,
        client.ip,
        to,
        port,
        _CLIENT_PORT,
        iif=client.interface,
        host=host.addresses,
        original=(to, port),
    )


def _forwarded(route: Route, packet: Packet) -> Iterator[Trouble]:
    condition, of = route.host.condition, family(packet.destination)
    bridge = route.network.bridge
    yield from _wrong(packet, faults.of_forwarding(condition, packet.iif, of))
    yield from _wrong(packet, faults.of_bridge(condition, route.network, of))
    forwarded = replace(packet, oif=bridge)
    yield from _leg(route, forwarded, ("forward", *_LEAVING), "a client's packet")
    yield from _wrong(packet, faults.of_container(route.inside, route.binding))
    yield from _wrong(packet, faults.of_way_back(route.inside, route.binding, packet.source))
    yield from _wrong(packet, faults.of_forwarding(condition, bridge, of))
    answer, hooks = _answer(forwarded, route.binding), (*_ARRIVING, "forward", *_LEAVING)
    yield from _leg(route, answer, hooks, "the container's answer")


def _wrong(packet: Packet, found: Iterable[faults.Fault]) -> Iterator[Trouble]:
    for what, mend in found:
        yield Trouble(what, packet, mend=mend)


def _answer(packet: Packet, binding: PortBinding) -> Packet:
    """What the container sends back."""
    return replace(
        packet,
        source=binding.container_ip,
        destination=packet.source,
        sport=binding.container_port,
        dport=packet.sport,
        iif=packet.oif,
        oif=packet.iif,
        answer=True,
        settled=True,
        mark=0,
    )


def _to_relay(route: Route, packet: Packet, client: Client) -> Iterator[str | Trouble]:
    """To the listening socket of the host, from there to the container, and back."""
    yield "the relay"
    yield from _leg(route, packet, ("input",), "a client's packet")
    yield from _unserved(route, packet)
    of = family(route.binding.container_ip)
    yield from _wrong(packet, faults.of_bridge(route.host.condition, route.network, of))
    yield from _wrong(packet, faults.of_container(route.inside, route.binding))
    yield from _dialled(route)
    back = replace(
        _answer(packet, route.binding),
        source=packet.destination,
        sport=packet.dport,
        iif="",
        oif=client.interface,
    )
    yield from _leg(route, back, ("output", *_LEAVING), "the relay's answer")


def _unserved(route: Route, packet: Packet) -> Iterator[Trouble]:
    binding, listening = route.binding, route.host.condition.listening
    if not route.relay:
        nat = binding.mode is PublishMode.NAT and not binding.socket.ip.is_loopback
        what = "our table doesn't translate it, and there is no relay"
        mend = "hostports reload" if nat else "start the daemon without --no-relay"
        yield Trouble(what, packet, mend=mend)
    elif listening is not None and not listens(binding.socket, listening):
        yield Trouble("nothing listens there, so clients are refused", packet, mend=_RESTART)


def listens(address: SocketAddress, listening: Set[SocketAddress]) -> bool:
    """Whether somebody listens at an address, or at the wildcard; nobody tells of SCTP."""
    if address.protocol is Protocol.SCTP:
        return True
    wildcard = family(address.ip).wildcard
    both = (SocketAddress(address.protocol, ip, address.port) for ip in (address.ip, wildcard))
    return any(each in listening for each in both)


def _dialled(route: Route) -> Iterator[Trouble]:
    """The relay's own connection to the container."""
    binding, network = route.binding, route.network
    of = family(binding.container_ip)
    source = network.gateway(of)
    if source is None:
        return
    dialled = Packet(
        binding.protocol.value,
        source,
        binding.container_ip,
        binding.container_port,
        _CLIENT_PORT,
        oif=network.bridge,
        host=route.host.addresses | {source},
        original=(binding.container_ip, binding.container_port),
        hook="output",
    )
    yield from _leg(route, dialled, ("output", *_LEAVING), "the relay's packet to the container")
    hooks = (*_ARRIVING, "input")
    yield from _leg(route, _answer(dialled, binding), hooks, "the container's answer")


def _leg(route: Route, packet: Packet, hooks: Iterable[str], whose: str) -> Iterator[Trouble]:
    yield from _troubles(packet, along(route.host.ruleset, packet, tuple(hooks)), whose)


def _troubles(packet: Packet, passage: Passage, whose: str) -> Iterator[Trouble]:
    """What a passage met; `packet` is as it came, the passage's as it was where it ended."""
    for doubt in passage.doubts:
        what = f"{whose} may be {doubt.act.value} in {doubt}"
        yield Trouble(what, passage.packet, doubt, certain=False)
    if passage.stop:
        what = f"{whose} is {passage.stop.act.value} in {passage.stop}"
        yield Trouble(what, replace(passage.packet, answer=packet.answer), passage.stop)


def _led_astray(packet: Packet, place: Place) -> Trouble:
    where = f"{packet.destination} port {packet.dport}"
    return Trouble(f"a client's packet is led to {where} instead, in {place}", packet, place)

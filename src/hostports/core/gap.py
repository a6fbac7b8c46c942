"""Which flows must not go on as they are after our rules were away for a while.

Connection tracking remembers what the first packet of a flow met, also if that was nothing.
"""

from collections.abc import Callable, Iterable, Iterator

from hostports.core.flows import translated_datagrams
from hostports.model.address import Family, IPAddress
from hostports.model.flow import Flow
from hostports.model.network import BridgeNetwork, GatewayMode
from hostports.model.port import PortBinding, Protocol, SocketAddress


def strays(
    networks: Iterable[BridgeNetwork], bindings: Iterable[PortBinding]
) -> Callable[[Flow], bool]:
    """Whether a flow has to meet the rules that are there by now.

    It is one of these: a datagram flow to a published port that was not translated; one that went
    straight to a container, but not to a published port; one that left a network with a container's
    address. TCP to a published port is not: the relay has taken it, and goes on serving it.
    """
    known = [*bindings]
    translated = translated_datagrams(known).keys()
    opened = {(each.container_ip, each.protocol.number, each.container_port) for each in known}
    all_networks = [*networks]

    def stray(flow: Flow) -> bool:
        if not _straight(flow):
            return False
        if flow.to_host or flow.from_host:
            return not translated.isdisjoint(_host_sockets(flow))
        return any(
            _intruding(flow, each, opened) or _unmasked(flow, each)
            for each in all_networks
            if each.subnet(_family(flow)) is not None
        )

    return stray


def _straight(flow: Flow) -> bool:
    return flow.answered_by == flow.destination and flow.answered_to == flow.source


def _host_sockets(flow: Flow) -> Iterator[SocketAddress]:
    """The sockets that may have been published for a datagram flow.

    If the relay's answer was the first packet that was tracked, the host began it. Over loopback
    nothing is ever translated.
    """
    if flow.protocol == Protocol.UDP.number and not flow.destination.is_loopback:
        ends = [(flow.to_host, flow.destination, flow.port)]
        ends.append((flow.from_host, flow.source, flow.source_port))
        for ours, ip, port in ends:
            if ours:
                yield SocketAddress(Protocol.UDP, ip, port)
                yield SocketAddress(Protocol.UDP, _family(flow).wildcard, port)


def _intruding(flow: Flow, network: BridgeNetwork, opened: set[tuple[IPAddress, int, int]]) -> bool:
    """Whether it went straight to a container, where rules would have refused it.

    Without masquerading they tell by the interface, of which nobody knows by now.
    """
    of = _family(flow)
    if not _inside(flow.destination, network) or _inside(flow.source, network):
        return False
    if network.gateway_mode(of) is GatewayMode.NAT_UNPROTECTED:
        return False
    if network.masquerade or network.routed(of):
        return (flow.destination, flow.protocol, flow.port) not in opened
    return True


def _unmasked(flow: Flow, network: BridgeNetwork) -> bool:
    """Whether it left a network with a source to which no answer finds its way."""
    return (
        network.masquerade
        and not network.internal
        and not network.routed(_family(flow))
        and _inside(flow.source, network)
        and not _inside(flow.destination, network)
    )


def _inside(ip: IPAddress, network: BridgeNetwork) -> bool:
    subnet = network.subnet(Family(ip.version))
    return subnet is not None and ip in subnet


def _family(flow: Flow) -> Family:
    return Family(flow.destination.version)

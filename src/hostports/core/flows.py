"""Which flows must not go on as connection tracking remembers them."""

from collections.abc import Callable, Iterable, Mapping

from hostports.model.address import Family
from hostports.model.flow import Flow
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, Protocol, PublishMode, SocketAddress


def translated_datagrams(bindings: Iterable[PortBinding]) -> dict[SocketAddress, PortBinding]:
    """The bindings of UDP by DNAT, by their sockets."""
    return {
        each.socket: each
        for each in bindings
        if each.protocol is Protocol.UDP and not each.routed and each.mode is PublishMode.NAT
    }


def left_over(
    networks: Iterable[BridgeNetwork], bindings: Iterable[PortBinding]
) -> Callable[[Flow], bool]:
    """Whether a flow of datagrams goes on as if rules were not what they are.

    Connection tracking remembers where its first packet was led, and a daemon that is killed
    between a change and the flows' end forgets none: one leads into a network by a binding that is
    there no longer, or past one that is there by now. What goes where its binding says stays.
    """
    subnets = [subnet for each in networks for of in Family if (subnet := each.subnet(of))]
    by_socket = translated_datagrams(bindings)

    def is_left_over(flow: Flow) -> bool:
        if flow.protocol != Protocol.UDP.number or not flow.to_host:
            return False
        binding = _leading(flow, by_socket)
        if flow.answered_by == flow.destination:
            return binding is not None and not flow.destination.is_loopback
        if binding is not None:
            ends = (binding.container_ip, binding.container_port)
            return (flow.answered_by, flow.answering_port) != ends
        return any(flow.answered_by in subnet for subnet in subnets)

    return is_left_over


def _leading(flow: Flow, by_socket: Mapping[SocketAddress, PortBinding]) -> PortBinding | None:
    """The binding that a flow's first packet would meet now."""
    wildcard = Family(flow.destination.version).wildcard
    for ip in (flow.destination, wildcard):
        if found := by_socket.get(SocketAddress(Protocol.UDP, ip, flow.port)):
            return found
    return None


def of_former(endpoint: Endpoint) -> Callable[[Flow], bool]:
    """Whether a flow is of somebody who had an endpoint's address before.

    Whoever is wired up now has none yet. An address that others brought up may be in use already:
    then only what was led there by a published port is old, as it has none yet.
    """
    addresses = {*endpoint.addresses}

    def is_of_former(flow: Flow) -> bool:
        led = flow.answered_by != flow.destination
        if endpoint.namespace:
            return not addresses.isdisjoint((flow.source, flow.destination, flow.answered_by))
        return led and flow.answered_by in addresses

    return is_of_former

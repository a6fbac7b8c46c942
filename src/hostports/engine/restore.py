"""Publish again what was published before a restart, as much of it as can be had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hostports.core.expand import Circumstances, PublishRequest, expand
from hostports.engine.publish import hand_to_relay, open_firewall
from hostports.engine.reserve import Reservation, bindings_of
from hostports.engine.resources import Resources
from hostports.engine.undo import UndoStack
from hostports.errors import HostPortInUse, HostportsError, NotRestorable
from hostports.model.address import family
from hostports.model.firewall import FirewallChange
from hostports.model.network import Endpoint
from hostports.model.port import PortBinding, PortRange, PortSpec


@dataclass(frozen=True, slots=True)
class Lost:
    """An earlier binding that can't be had again, and why; it may be tried later."""

    binding: PortBinding
    error: HostportsError


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is published again, and what is not."""

    bindings: tuple[PortBinding, ...]
    lost: tuple[Lost, ...]


def restore(
    resources: Resources, endpoint: Endpoint, bindings: Sequence[PortBinding]
) -> Restoration:
    """Publish earlier bindings of an endpoint with their exact ports, each on its own.

    One that is lost doesn't take others with it. Raises `FirewallFailed`, `RelayFailed` or
    `StoreFailed`, which concern all; then nothing is published.
    """
    around = resources.circumstances()
    lost: list[Lost] = []
    with UndoStack() as undo:
        held: dict[PortBinding, Reservation] = {}
        for binding in bindings:
            try:
                reservation = _reservation(resources, endpoint, binding, around)
            except HostportsError as error:
                lost.append(Lost(binding, error))
            else:
                undo.push(reservation.free)
                held[binding] = reservation
        open_firewall(resources, held.values(), undo)
        for binding, reservation in held.items():
            lost += _listen(resources, binding, reservation)
        hand_to_relay(resources.edges, list(held.values()), undo)
        _exchange(resources, held)
    return Restoration(bindings_of(held.values()), tuple(lost))


def _exchange(resources: Resources, held: Mapping[PortBinding, Reservation]) -> None:
    """Want what came back otherwise, as with another port inside RootlessKit, as it is now."""
    now = {was: each for was, reservation in held.items() for each in reservation.bindings}
    changed = {was: each for was, each in now.items() if was != each}
    if changed:
        resources.edges.firewall.apply(FirewallChange(closed=tuple(changed)))
        resources.record(added=list(changed.values()), removed=list(changed))


def _reservation(
    resources: Resources, endpoint: Endpoint, binding: PortBinding, around: Circumstances
) -> Reservation:
    """Hold exactly the port that a binding had."""
    if binding.routed and not endpoint.network.routed(family(binding.host_ip)):
        # moby 28.5 would open a dynamic port here, one that nobody asked for.
        raise NotRestorable(
            f"{binding} had no host port, and network {endpoint.network.name!r} is not routed now",
            "publish it again with the host port it shall have",
        )
    spec = PortSpec(
        binding.container_port,
        binding.protocol,
        None if binding.routed else PortRange.single(binding.host_port),
        binding.host_ip,
        binding.container_ip,
        binding.interface,
    )
    request = PublishRequest(
        endpoint,
        [spec],
        mode=binding.mode,
        allow_from=binding.allow_from,
        proxy_protocol=binding.proxy_protocol,
    )
    expansion = expand(request, around)
    if not expansion.groups:
        raise NotRestorable("; ".join(expansion.warnings))
    reservation = Reservation(resources, endpoint, expansion.groups[0], around.host)
    reservation.take()
    return reservation


def _listen(resources: Resources, was: PortBinding, reservation: Reservation) -> list[Lost]:
    """Listen; a port that somebody took between bind and listen is closed again and lost."""
    bindings = reservation.bindings
    try:
        reservation.listen()
    except HostPortInUse as error:
        resources.edges.firewall.apply(FirewallChange(closed=bindings))
        reservation.free()
        return [Lost(was, error)]
    return []

"""Bring back what is recorded after the daemon, the relay or the host was started anew."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hostports.core.flows import left_over
from hostports.core.reconcile import Actions, Observed, reconcile
from hostports.engine.follow import follow
from hostports.engine.registry import Registry
from hostports.engine.restore import Lost
from hostports.errors import HostportsError, LinkFailed
from hostports.interfaces import Links
from hostports.model.firewall import FirewallChange
from hostports.model.network import Endpoint
from hostports.model.state import State


@dataclass(frozen=True, slots=True)
class Return:
    """What could not be brought back: bindings, and the reasons of all else."""

    lost: tuple[Lost, ...] = ()
    failures: tuple[HostportsError, ...] = ()


def bring_back(registry: Registry, state: State) -> Return:
    """Make what is recorded true again, as much of it as can be had; what is there stays as it is.

    The relay goes on with what it serves, but for what nobody wants any more. The firewall has been
    told of everything in `state` before. Raises `RelayFailed`, `PortDriverFailed` or
    `FirewallFailed`.
    """
    registry.know(state)
    actions = reconcile(state, _observed(registry, state))
    failures = _laid(registry, actions)
    _publish(registry, actions)
    failures += tried(partial(_forget_left_over, registry))
    failures += follow(registry).failures
    return Return(tuple(registry.lost), tuple(failures))


def serve_again(registry: Registry, state: State) -> None:
    """Give a new relay all that is recorded, after the one before has died with its sockets.

    What somebody else took meanwhile is lost, and so are addresses that followed interfaces don't
    have any more, until `follow` looks. Raises `RelayFailed`, `PortDriverFailed` or
    `FirewallFailed`; then it may be tried again.
    """
    registry.abandon()
    _publish(registry, reconcile(state, _observed(registry, state)))


def _observed(registry: Registry, state: State) -> Observed:
    relay, driver = registry.edges.relay, registry.edges.port_driver
    return Observed(
        frozenset(registry.links.read().interfaces),
        frozenset(each.name for each in state.endpoints.values() if registry.links.attached(each)),
        tuple(relay.held()) if relay is not None else (),
        driver.forwardings() if driver is not None else None,
    )


def _laid(registry: Registry, actions: Actions) -> list[HostportsError]:
    """Make bridges and cables, and what bridges that are there lack; what went wrong."""
    links = registry.links
    failures: list[HostportsError] = []
    for network in registry.networks():
        made = links.add_bridge if network in actions.bridges else links.restore_bridge
        failures += tried(partial(made, network))
    for endpoint in actions.cables:
        failures += tried(partial(attach_again, links, endpoint))
    return failures


def attach_again(links: Links, endpoint: Endpoint) -> None:
    """Join an endpoint's cable to its bridge again, or lay it anew. Raises what `Links` raises."""
    if links.plug_in(endpoint):
        return
    if endpoint.of_process:
        raise LinkFailed(
            f"endpoint {endpoint.name!r} can't be attached again: {endpoint.namespace} may be "
            "another process's by now",
            "remove the endpoint and add it anew",
        )
    links.attach(endpoint)


def tried(step: Callable[[], object]) -> list[HostportsError]:
    """Take a step; what went wrong."""
    try:
        step()
    except HostportsError as error:
        return [error]
    return []


def _publish(registry: Registry, actions: Actions) -> None:
    """Take over what is served, publish the rest anew, and close what can't be had."""
    relay, driver = registry.edges.relay, registry.edges.port_driver
    if driver is not None:
        for parent in actions.stray:
            driver.remove(parent)
    if relay is not None and actions.unwanted:
        relay.remove(actions.unwanted)
    registry.engine.adopt(actions.adopted)
    if lost := registry.restore(actions.missing):
        closed = tuple(each.binding for each in lost)
        registry.edges.firewall.apply(FirewallChange(closed=closed))


def _forget_left_over(registry: Registry) -> None:
    if (conntrack := registry.edges.conntrack) is not None:
        conntrack.forget_if(left_over(registry.networks(), registry.engine.published()))

"""Make good what others have done to our rules, bridges and cables."""

from collections.abc import Iterable
from functools import partial

from hostports.core.gap import strays
from hostports.core.networks import cable_name
from hostports.engine.registry import Registry
from hostports.engine.restart import attach_again, tried
from hostports.errors import HostportsError, NotPermitted
from hostports.model.network import BridgeNetwork, Endpoint


def forget_strays(registry: Registry) -> int:
    """Let flows that began while our rules were away meet them; how many there were.

    An answer that is on its way when a flow is forgotten makes it anew, the other way round; so one
    look may not be enough. Raises `ConntrackFailed` or `NotPermitted`.
    """
    conntrack = registry.edges.conntrack
    if conntrack is None:
        return 0
    return conntrack.forget_if(strays(registry.networks(), registry.engine.published()))


def heal_links(
    registry: Registry, damaged: Iterable[str]
) -> tuple[list[str], list[HostportsError]]:
    """Make bridges again that have gone, or lack something, by their names; join or lay cables.

    An empty name means: look at all, also inside endpoints. Returns what was made, in words, and
    what went wrong. What we have removed ourselves is known no longer, or has been made again
    meanwhile.
    """
    names = set(damaged)
    made: list[str] = []
    failures: list[HostportsError] = []
    for network in registry.networks():
        if {network.bridge, ""} & names:
            failures += tried(partial(_restored, registry, network, made))
            names |= {cable_name(each) for each in registry.endpoints(network.name)}
    for endpoint in registry.endpoints():
        if {cable_name(endpoint), ""} & names and endpoint.namespace:
            inside = "" in names
            failures += tried(partial(_attached, registry, endpoint, made, inside=inside))
    return made, failures


def detached(registry: Registry) -> list[Endpoint]:
    """The endpoints whose namespace has gone, or has no cable to its bridge any more.

    What nobody may look at is not among them. Raises `LinkFailed`.
    """
    return [
        each
        for each in registry.endpoints()
        if each.namespace and not _seen_attached(registry, each)
    ]


def _seen_attached(registry: Registry, endpoint: Endpoint) -> bool:
    try:
        return registry.links.attached(endpoint)
    except NotPermitted:
        return True


def _restored(registry: Registry, network: BridgeNetwork, made: list[str]) -> None:
    if registry.links.restore_bridge(network):
        made.append(f"bridge {network.bridge}")


def _attached(registry: Registry, endpoint: Endpoint, made: list[str], *, inside: bool) -> None:
    """With `inside`, what is the endpoint's own is looked at, too: it may have reasons."""
    if not registry.links.attached(endpoint):
        attach_again(registry.links, endpoint)
        made.append(f"the cable of endpoint {endpoint.name}")
    elif inside and registry.links.restore_inside(endpoint):
        made.append(f"eth0 of endpoint {endpoint.name}")

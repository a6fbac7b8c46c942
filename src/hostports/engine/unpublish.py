"""Take bindings back: rules first, then relay, RootlessKit, sockets and ports."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from hostports.engine.resources import Resources
from hostports.engine.undo import take_all
from hostports.model.firewall import FirewallChange
from hostports.model.port import PortBinding


def unpublish(resources: Resources, bindings: Sequence[PortBinding], *, kill: bool = False) -> None:
    """Release bindings in the mirror order of publish, going on after errors.

    The rules go before the relay, so that no port is free for others while a rule leads it away.
    Established TCP connections by DNAT end with `kill` only. Raises `ReleaseFailed` with all that
    went wrong; the ports are given back even then.
    """
    take_all(_steps(resources, bindings, kill=kill))


def _steps(
    resources: Resources, bindings: Sequence[PortBinding], *, kill: bool
) -> Iterator[Callable[[], None]]:
    edges = resources.edges
    bound = [binding for binding in bindings if not binding.routed]
    if bindings:
        change = FirewallChange(closed=tuple(bindings))
        yield partial(edges.firewall.apply, change)
        yield partial(resources.forget_flows, bindings, tcp=kill)
    if edges.relay is not None and bound:
        yield partial(edges.relay.remove, bound)
    for binding in bound:
        if edges.port_driver is not None and binding.child is not None:
            yield partial(edges.port_driver.remove, binding.host_socket)
    for binding in bound:
        yield partial(edges.sockets.release, binding.socket)
    yield partial(resources.book.strike_out, bound)

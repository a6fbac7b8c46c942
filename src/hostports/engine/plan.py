"""What publish would do, without doing it."""

from dataclasses import replace

from hostports.core.expand import PublishRequest, expand
from hostports.engine.reserve import bindings_of, reserve_all
from hostports.engine.resources import Resources
from hostports.engine.undo import UndoStack
from hostports.errors import ReleaseFailed
from hostports.model.published import Plan


def plan(resources: Resources, request: PublishRequest) -> Plan:
    """Decide a request as publish would; its sockets are bound for a moment, and deaf.

    Only bind(2) knows whether the host has an address, and a port that nobody else holds.
    RootlessKit is told nothing. Raises what publish would raise before it records anything.
    """
    around = resources.circumstances(request.interfaces)
    expansion = expand(request, around)
    edges = replace(resources.edges, port_driver=None)
    apart = replace(resources, edges=edges, book=resources.book.copy())
    with UndoStack() as undo:
        groups = expansion.groups
        reservations = reserve_all(apart, request.endpoint, groups, around.host, undo)
    bindings = bindings_of(reservations)
    if failures := undo.unwind():
        raise ReleaseFailed(failures)
    return Plan(bindings, expansion.warnings)

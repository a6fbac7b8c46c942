"""What publish would do, without doing it."""

from dataclasses import dataclass

from hostports.core.expand import Circumstances, PublishRequest, expand
from hostports.core.portbook import PortBook
from hostports.model.port import PortBinding, SocketAddress


@dataclass(frozen=True, slots=True)
class Plan:
    """The bindings that a request would give, in order, and what its sender should know.

    Ports are those that the allocator would propose first; a port that another process holds shows
    only when it is bound. `rules` are the firewall's, in its own words.
    """

    bindings: tuple[PortBinding, ...]
    warnings: tuple[str, ...]
    rules: tuple[str, ...] = ()

    @property
    def sockets(self) -> tuple[SocketAddress, ...]:
        """The sockets that would be bound."""
        return tuple(binding.socket for binding in self.bindings if not binding.routed)


def plan(request: PublishRequest, around: Circumstances, book: PortBook) -> Plan:
    """Decide a request as publish would, on a copy of the book.

    Raises what publish would raise before it touches anything.
    """
    expansion = expand(request, around)
    book = book.copy()
    groups = (book.enter(group, request.endpoint, around.host) for group in expansion.groups)
    return Plan(tuple(binding for group in groups for binding in group), expansion.warnings)

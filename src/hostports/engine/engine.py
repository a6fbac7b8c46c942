"""The engine as a program embeds it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from hostports.core.expand import PublishRequest
from hostports.core.portbook import PortBook
from hostports.engine import plan, publish, restore, unpublish
from hostports.engine.resources import Edges, Resources
from hostports.model.following import Following
from hostports.model.network import Endpoint
from hostports.model.port import PortBinding
from hostports.model.published import Plan
from hostports.model.state import Recorded


class Engine:
    """Publishes ports through its edges, and knows what is published.

    It may be used from many threads; two requests never get the same port. Raises `UnusableValue`
    for a RootlessKit port driver that can't work.
    """

    def __init__(self, edges: Edges) -> None:
        self.resources = Resources(edges)
        self.resources.circumstances()

    @property
    def book(self) -> PortBook:
        """Which ports are taken."""
        return self.resources.book

    def plan(self, request: PublishRequest) -> Plan:
        """What publish would do now, without doing it; raises as it would."""
        return plan.plan(self.resources, request)

    def publish(
        self, request: PublishRequest, is_wanted: Callable[[Recorded], bool] = lambda _: False
    ) -> publish.Publication:
        """Publish all that is asked for, or raise and leave everything as it was.

        What `is_wanted` without being published is in the record, and stays there.
        """
        publication = publish.publish(self.resources, request, is_wanted)
        self.resources.published.add(dict.fromkeys(publication.bindings, publication.at))
        return publication

    def restore(
        self,
        endpoint: Endpoint,
        bindings: Sequence[PortBinding],
        created: Mapping[PortBinding, datetime] = MappingProxyType({}),
    ) -> restore.Restoration:
        """Publish again, with exact ports, what can be had of an endpoint's earlier bindings.

        `created` are the times of their first publication, where these are known.
        """
        restoration = restore.restore(self.resources, endpoint, bindings)
        now = self.resources.edges.clock.now()
        since = {each: created.get(each, now) for each in restoration.bindings}
        self.resources.published.add(since)
        return restoration

    def adopt(self, created: Mapping[PortBinding, datetime]) -> None:
        """Take over bindings that a relay went on serving while we were away, as they are.

        Raises `PortPublished` if one of their ports is published by others.
        """
        for binding in created:
            self.book.claim(binding)
        self.resources.published.add(created)

    def unpublish(
        self,
        bindings: Iterable[PortBinding],
        followings: Iterable[Following] = (),
        *,
        kill: bool = False,
    ) -> None:
        """Release bindings; those that aren't published (any more) have no effect.

        They, and followings, are no longer wanted first of all: raises `StoreFailed`, and changes
        nothing, if that can't be recorded. Established TCP connections by DNAT end with `kill`
        only. Raises `ReleaseFailed` with all that went wrong; the ports are given back even then.
        """
        wanted = list(bindings)
        self.resources.record(removed=[*wanted, *followings])
        there = self.resources.published.remove(wanted)
        unpublish.unpublish(self.resources, there, kill=kill)

    def abandon(self, bindings: Iterable[PortBinding]) -> None:
        """Forget bindings whose sockets died with the relay; the firewall and the record stay."""
        self.book.strike_out(self.resources.published.remove(bindings))

    def published(self, endpoint: str | None = None) -> list[PortBinding]:
        """The bindings of one endpoint, or of all, in the order of publication."""
        return self.resources.published.list(endpoint)

    def created(self) -> dict[PortBinding, datetime]:
        """All published bindings, with the time of their publication."""
        return self.resources.published.created()

"""Which endpoints nothing leads to any more."""

from dataclasses import replace

from hostports.core.networks import cable_name
from hostports.engine import Engine
from hostports.engine.heal import detached, heal_links
from hostports.engine.registry import Registry
from hostports.errors import NotPermitted
from hostports.model.network import Endpoint
from hostports.testing import FakeLinks
from tests.engine.test_registry import NETNS, Site


class BlindLinks(FakeLinks):
    """Links of a process that may not look into namespaces."""

    def attached(self, endpoint: Endpoint) -> bool:
        """Nobody knows."""
        raise NotPermitted(f"namespace {endpoint.namespace!r} can't be used", "run as root")


def test_an_endpoint_whose_namespace_has_gone_is_detached() -> None:
    site = Site()
    registry = site.web()
    assert detached(registry) == []
    site.links.gone.add(NETNS)
    assert detached(registry) == [registry.endpoint("web")]


def test_what_an_endpoint_has_lost_inside_is_restored_where_all_is_looked_at_only() -> None:
    """Else it is the container's business."""
    site = Site()
    registry = site.web()
    cable = cable_name(registry.endpoint("web"))
    site.links.lay_bare(cable)
    assert heal_links(registry, [cable]) == ([], [])
    assert heal_links(registry, [""]) == (["eth0 of endpoint web"], [])
    assert heal_links(registry, [""]) == ([], [])


def test_what_nobody_may_look_at_is_not_taken_for_gone() -> None:
    site = Site()
    edges = replace(site.web().edges, links=BlindLinks())
    registry = Registry(Engine(edges))
    registry.know(site.store.load())
    assert detached(registry) == []

"""Which endpoints nothing leads to any more."""

from dataclasses import replace

from hostports.engine import Engine
from hostports.engine.heal import detached
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


def test_what_nobody_may_look_at_is_not_taken_for_gone() -> None:
    site = Site()
    edges = replace(site.web().edges, links=BlindLinks())
    registry = Registry(Engine(edges))
    registry.know(site.store.load())
    assert detached(registry) == []

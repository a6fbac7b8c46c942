"""The use cases: what is decided, done in order, and undone when a step fails."""

from hostports.core.expand import PublishRequest
from hostports.engine.engine import Engine
from hostports.engine.publish import Publication
from hostports.engine.resources import Edges
from hostports.engine.restore import Lost, Restoration
from hostports.model.published import Plan

__all__ = ["Edges", "Engine", "Lost", "Plan", "Publication", "PublishRequest", "Restoration"]

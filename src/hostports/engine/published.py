"""Which bindings are published, and since when."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from threading import Lock

from hostports.model.port import PortBinding


class Published:
    """The published bindings in order of publication; safe to use from many threads."""

    def __init__(self) -> None:
        self._bindings: dict[PortBinding, datetime] = {}
        self._lock = Lock()

    def add(self, created: Mapping[PortBinding, datetime]) -> None:
        """Record bindings; one that is there already stays as it is."""
        with self._lock:
            for binding, at in created.items():
                self._bindings.setdefault(binding, at)

    def remove(self, bindings: Iterable[PortBinding]) -> tuple[PortBinding, ...]:
        """Strike out bindings and return those that were there: nobody else will get them."""
        with self._lock:
            there = tuple(each for each in bindings if each in self._bindings)
            for binding in there:
                self._bindings.pop(binding, None)
        return there

    def without(self, bindings: Iterable[PortBinding]) -> tuple[PortBinding, ...]:
        """Those of the bindings that aren't published."""
        with self._lock:
            return tuple(each for each in bindings if each not in self._bindings)

    def created(self) -> dict[PortBinding, datetime]:
        """All bindings with the time of their publication."""
        with self._lock:
            return dict(self._bindings)

    def list(self, endpoint: str | None = None) -> list[PortBinding]:
        """The bindings of one endpoint, or of all."""
        with self._lock:
            return [each for each in self._bindings if endpoint in (None, each.endpoint)]

"""Which bindings are published."""

from collections.abc import Iterable
from threading import Lock

from hostports.model.port import PortBinding


class Published:
    """The published bindings in order of publication; safe to use from many threads."""

    def __init__(self) -> None:
        self._bindings: dict[PortBinding, None] = {}
        self._lock = Lock()

    def add(self, bindings: Iterable[PortBinding]) -> None:
        """Record bindings; one that is there already stays where it is."""
        with self._lock:
            self._bindings.update(dict.fromkeys(bindings))

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

    def list(self, endpoint: str | None = None) -> list[PortBinding]:
        """The bindings of one endpoint, or of all."""
        with self._lock:
            return [each for each in self._bindings if endpoint in (None, each.endpoint)]

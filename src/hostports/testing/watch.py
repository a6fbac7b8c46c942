"""The fake of `Watch`: a test tells it what others do."""

import os
from collections.abc import Iterable
from typing import Generic, TypeVar

Told = TypeVar("Told")


class FakeWatch(Generic[Told]):
    """A list of changes that nobody has read yet."""

    def __init__(self) -> None:
        self._signal = os.eventfd(0, os.EFD_NONBLOCK)
        self._changes: list[Told] = []

    def tell(self, changes: Iterable[Told]) -> None:
        """Let others change something."""
        self._changes += changes
        os.eventfd_write(self._signal, 1)

    def fileno(self) -> int:
        """Readable when there are changes."""
        return self._signal

    def read(self) -> list[Told]:
        """The changes since the last call."""
        if self._changes:
            os.eventfd_read(self._signal)
        found, self._changes = self._changes, []
        return found

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._signal)

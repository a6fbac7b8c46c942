"""Steps that are taken whatever the others gave: of a release, and of taking back."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from hostports.errors import ReleaseFailed


def take_all(steps: Iterable[Callable[[], object]]) -> None:
    """Take every step; raises `ReleaseFailed` with all that went wrong."""
    if failures := failures_of(steps):
        raise ReleaseFailed(failures)


def failures_of(steps: Iterable[Callable[[], object]]) -> list[Exception]:
    """Take every step; what went wrong."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except ReleaseFailed as error:
            failures.extend(error.errors)
        except Exception as error:  # the remaining steps must be taken
            failures.append(error)
    return failures


class UndoStack:
    """Each act pushes its reverse; success forgets them, failure takes them, last first.

    As a context manager it unwinds when its block fails, and attaches to the error, as notes, what
    went wrong meanwhile; when the block succeeds, the steps stay for whoever keeps the stack.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def push(self, step: Callable[[], object]) -> None:
        """Remember how to take back what was just done."""
        self._steps.append(step)

    def unwind(self) -> list[Exception]:
        """Take every step, whatever the others gave; a step is never taken twice."""
        return failures_of(self._last_first())

    def _last_first(self) -> Iterator[Callable[[], object]]:
        while self._steps:
            yield self._steps.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            for failure in self.unwind():
                error.add_note(f"while undoing: {failure}")

"""Waiting for what should come; the limits are for failures only, so they are generous."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

PATIENCE_S: Final = 20.0


def eventually(condition: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds, or raise `TimeoutError` with what did not happen."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"in {seconds:g} s not seen: {what}")
        sleep(0.002)


def settled(count: Callable[[], int], seconds: float = 0.3) -> int:
    """A count that has stopped growing: nothing came for a while."""
    deadline = monotonic() + PATIENCE_S
    now, since = count(), monotonic()
    while monotonic() - since < seconds:
        if monotonic() > deadline:
            raise TimeoutError(f"still growing: {now}")
        sleep(0.01)
        if (latest := count()) != now:
            now, since = latest, monotonic()
    return now

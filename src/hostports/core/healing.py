"""When to make good what others have undone: at once, but never in a race with them."""

from typing import Final

#: Healings without a pause, and seconds in which one more of these is earned: an administrator who
#: loads rules again and again is healed at once, a tool that fights with us one time in a while.
BURST: Final = 10
EARNED_S: Final = 5.0


class Healing:
    """A change is healed at once, as long as there were few; then healings become rare.

    All times are monotonic seconds. What changes before a healing is due is healed by it, too.
    """

    def __init__(self, burst: int = BURST, earned_s: float = EARNED_S) -> None:
        self._burst = burst
        self._earned_s = earned_s
        self._left = float(burst)
        self._at = 0.0
        self._fight = False

    def wait(self, now: float) -> float:
        """Seconds until a change that is seen now may be healed; 0: at once."""
        return max(0.0, 1 - self._earned(now)) * self._earned_s

    def healed(self, now: float) -> bool:
        """Take note of a healing; True if from this one on somebody is fighting with us."""
        self._left, self._at = self._earned(now) - 1, now
        before = self._fight
        if self._left < 1:
            self._fight = True
        elif self._left >= self._burst / 2:
            self._fight = False
        return self._fight and not before

    def _earned(self, now: float) -> float:
        return min(float(self._burst), self._left + (now - self._at) / self._earned_s)

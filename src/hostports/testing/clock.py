"""The fake of `Clock`."""

from datetime import UTC, datetime, timedelta
from typing import Final

_SOME_TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeClock:
    """Moves on by `step` when it is asked; `time` may be set to any other, in any time zone."""

    def __init__(self, time: datetime = _SOME_TIME, step: timedelta = timedelta()) -> None:
        self.time = time
        self.step = step

    def now(self) -> datetime:
        """The time as the test wants it, in UTC."""
        now, self.time = self.time, self.time + self.step
        return now.astimezone(UTC)

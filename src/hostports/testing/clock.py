"""The fake of `Clock`."""

from datetime import UTC, datetime
from typing import Final

_SOME_TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeClock:
    """Stands still; `time` may be set to any other, in any time zone."""

    def __init__(self, time: datetime = _SOME_TIME) -> None:
        self.time = time

    def now(self) -> datetime:
        """The time as the test wants it, in UTC."""
        return self.time.astimezone(UTC)

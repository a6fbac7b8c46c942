"""Those who look at the board: samples are made for all of them at once, and only for them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from hostports.ui.board import Board


class Audience:
    """Viewers of a board; `told` hears when the first comes and when the last has gone."""

    def __init__(self, told: Callable[[bool], None]) -> None:
        self.board = Board()
        self._told: Final = told
        self._viewers = 0
        self._news: Final = asyncio.Condition()

    async def show(self) -> None:
        """Let all see what is new on the board."""
        async with self._news:
            self._news.notify_all()

    async def watch(self) -> AsyncGenerator[bytes, None]:
        """Lines for one viewer. Who is slow misses samples, and then sees the whole board again."""
        self._come()
        seen = 0
        try:
            while True:
                async with self._news:
                    await self._news.wait_for(lambda: self.board.number > seen)  # noqa: B023 - asked at once
                new = seen and self.board.number == seen + 1
                seen = self.board.number
                yield self.board.latest if new else self.board.whole()
        finally:
            self._go()

    def _come(self) -> None:
        self._viewers += 1
        if self._viewers == 1:
            self._told(True)  # noqa: FBT003 - its only argument

    def _go(self) -> None:
        self._viewers -= 1
        if not self._viewers:
            self._told(False)  # noqa: FBT003 - see above
            # What was there is old when somebody looks again.
            self.board = Board()

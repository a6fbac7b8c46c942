"""The live view of ``hostports top`` on a terminal, by rich."""

import sys
from typing import Final, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from hostports.cli.keys import HELP, Viewing, keys_of, pressed
from hostports.cli.output import Json, printable
from hostports.cli.rows import View, table, total, viewed
from hostports.cli.terminal import rich_table
from hostports.cli.top import Looks

#: Lines above the rows: a sentence, the keys, the heads.
_ABOVE: Final = 3


class Screen:
    """Shows look after look, `iterations` of them or without end, and obeys keys at once."""

    def __init__(self, out: TextIO, looks: Looks, iterations: int | None) -> None:
        self._console = Console(file=out, highlight=False)
        self._looks = looks
        self._iterations = iterations

    def run(self, view: View) -> None:
        """Show until `q` is pressed."""
        now, ports, seen = Viewing(view), self._looks.first(), 0
        live = Live(console=self._console, screen=True, auto_refresh=False)
        with keys_of(sys.stdin) as keys, live:
            while not now.over and seen != self._iterations:
                live.update(self._frame(ports, now), refresh=True)
                now = pressed(now, keys.read(self._looks.wait))
                if not self._looks.wait:
                    ports, seen = self._looks.next(), seen + 1

    def _frame(self, ports: list[Json], now: Viewing) -> Group:
        rows = viewed(ports, now.view)
        room = max(1, self._console.height - _ABOVE)
        sorting = f"by {now.view.sort}{', reversed' * now.view.reverse}"
        return Group(
            Text(f"{total(rows)}, {sorting}", style="bold", no_wrap=True),
            Text(_second_line(now), style="dim", no_wrap=True, overflow="ellipsis"),
            rich_table(table(rows[:room])),
        )


def _second_line(now: Viewing) -> str:
    if now.typing:
        return f"filter: {printable(now.view.filter)}_   Enter keeps it, Esc drops it"
    return f"filter: {now.view.filter}   {HELP}" if now.view.filter else HELP

"""Tables and lines on a terminal, by rich."""

from typing import TextIO

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hostports.cli.output import Line, Table, printable

#: How a column looks that has a colour.
_STYLES = {"ENDPOINT": "bold", "NAME": "bold", "HOST": "green", "CONTAINER": "cyan"}


def show(shown: Table | list[Line], out: TextIO) -> None:
    """Print a table or lines to a terminal."""
    console = Console(file=out, highlight=False)
    if isinstance(shown, Table):
        # The terminal wraps rows that are too long; rich would cut addresses to pieces.
        console.width = max(console.width, *map(len, shown.lines()))
        console.print(rich_table(shown))
    else:
        for line in shown:
            console.print(Text(printable(line.text), style=line.style), soft_wrap=True)


def rich_table(table: Table) -> RichTable:
    """The table as rich draws it."""
    made = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    for head in table.heads:
        made.add_column(
            head,
            justify="right" if head in table.numbers else "left",
            style=_STYLES.get(head),
            no_wrap=True,
        )
    for row in table.rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made

"""Tables and lines on a terminal, by rich."""

from collections.abc import Iterator
from typing import Final, TextIO

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from hostports.cli.output import Line, Table, printable

_HEAD: Final = Style.parse("bold dim")
#: How a column looks that has a colour.
_STYLES: Final = {"ENDPOINT": "bold", "NAME": "bold", "HOST": "green", "CONTAINER": "cyan"}


def show(shown: Table | list[Line], out: TextIO) -> None:
    """Print a table or lines to a terminal."""
    if isinstance(shown, Table):
        for row in _coloured(shown):
            print(row, file=out)
    else:
        console = Console(file=out, highlight=False)
        for line in shown:
            console.print(Text(printable(line.text), style=line.style), soft_wrap=True)


def _coloured(table: Table) -> Iterator[str]:
    """As long as they are: the terminal folds them, where rich would cut addresses to pieces.

    Rich measures each cell for itself: ten thousand rows would take it ten seconds.
    """
    columns = [Style.parse(_STYLES.get(head, "")) for head in table.heads]
    styles = [_HEAD] * len(columns)
    for cells in table.aligned():
        pairs = zip(styles, cells, strict=True)
        yield "  ".join(
            style.render(cell, color_system=ColorSystem.STANDARD) for style, cell in pairs
        )
        styles = columns


def rich_table(table: Table) -> RichTable:
    """The table as rich draws it."""
    made = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_HEAD)
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

"""How the command shows things: JSON for programs; tables and sentences for people."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from json import dumps
from typing import Any, Final, NamedTuple, TextIO, TypeAlias

from hostports.cli.exits import code_of
from hostports.errors import HostportsError

Json: TypeAlias = dict[str, Any]
#: Who waits longer than this is told that something happens.
_PATIENCE_S: Final = 1.0


class Line(NamedTuple):
    """A line for people; on a terminal in `style`, as rich names colours."""

    text: str
    style: str = ""


class Table(NamedTuple):
    """Rows under heads; columns whose heads are in `numbers` are aligned to the right."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[str] = frozenset()

    def lines(self) -> Iterator[str]:
        """The table as text, its columns aligned by spaces."""
        return ("  ".join(cells).rstrip() for cells in self.aligned())

    def aligned(self) -> Iterator[list[str]]:
        """The cells of each row, the heads first, as wide as their columns."""
        rows = [self.heads, *(tuple(map(printable, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield [
                cell.rjust(width) if head in self.numbers else cell.ljust(width)
                for head, cell, width in zip(self.heads, row, widths, strict=True)
            ]


#: What people see of a document; a text is printed as it is.
Shown: TypeAlias = Table | list[Line] | str


class Console:
    """Standard output and error of a command; `json` says for whom they are."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.json = False
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        screen = environ.get("TERM") != "dumb"
        colours = screen and not environ.get("NO_COLOR")
        self._screen = screen and self._out.isatty()
        self._out_rich = colours and self._out.isatty()
        self._err_rich = colours and self._err.isatty()

    @property
    def terminal(self) -> TextIO | None:
        """Standard output where people watch it on a screen."""
        return self._out if self._screen and not self.json else None

    def show(self, document: Json, shown: Callable[[Json], Shown]) -> int:
        """Print a document: as JSON, or what `shown` makes of it for people; exit status 0."""
        self._print(document, shown, self._out, rich=self._out_rich)
        self._warn(document)
        return 0

    def show_aside(self, document: Json, shown: Callable[[Json], Shown]) -> None:
        """As `show`, but on standard error, and if nobody reads that, it doesn't matter."""
        with suppress(OSError):
            self._print(document, shown, self._err, rich=self._err_rich)
        self._warn(document)

    def tell(self, sentence: str) -> None:
        """Print a sentence on standard error, for people only."""
        if not self.json:
            for line in sentence.splitlines():
                self._print_error(f"hostports: {printable(line)}")

    def fail(self, error: HostportsError) -> None:
        """Print an error on standard error."""
        if self.json:
            document = {"code": code_of(error), "message": error.message, "hint": error.hint}
            self._print_error(dumps({"error": document}))
        for sentence in (str(error), *getattr(error, "__notes__", ())):
            self.tell(sentence)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show on a terminal that the daemon is waited for, if it takes long."""
        if self.json or not self._err_rich:
            yield
            return
        from hostports.cli.progress import shown_after  # noqa: PLC0415 - it needs threads

        with shown_after(_PATIENCE_S, "waiting for the daemon", self._err):
            yield

    def flush(self) -> None:
        """Write what is still to be written; output that nobody can take is given up."""
        self._out.flush()

    def _print(
        self, document: Json, shown: Callable[[Json], Shown], out: TextIO, *, rich: bool
    ) -> None:
        if self.json:
            print(dumps(document), file=out)
        else:
            _show(shown(document), out, rich=rich)

    def _warn(self, document: Json) -> None:
        for warning in document.get("warnings", ()):
            self.tell(f"warning: {warning}")

    def _print_error(self, line: str) -> None:
        with suppress(OSError):  # there is nobody left to tell
            print(line, file=self._err)


def _show(shown: Shown, out: TextIO, *, rich: bool) -> None:
    """The plain text is the same as on a terminal, without colours and folding."""
    if isinstance(shown, str):
        print(shown, file=out)
    elif rich:
        from hostports.cli.terminal import show  # noqa: PLC0415 - rich takes long to import

        show(shown, out)
    else:
        lines = (
            shown.lines() if isinstance(shown, Table) else (printable(each.text) for each in shown)
        )
        for line in lines:
            print(line, file=out)


def printable(text: str) -> str:
    """Text without what a terminal would obey, as a process's name may have it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

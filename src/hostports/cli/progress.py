"""A sign of life on a terminal while something takes long."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO


@contextmanager
def shown_after(seconds: float, what: str, out: TextIO) -> Iterator[None]:
    """Show what is waited for, and since when, once it has taken `seconds`."""
    done = Event()
    thread = Thread(target=_show, args=(done, seconds, what, out), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(done: Event, seconds: float, what: str, out: TextIO) -> None:
    if done.wait(seconds):
        return
    from rich.console import Console  # noqa: PLC0415 - most calls don't take long
    from rich.progress import (  # noqa: PLC0415 - see above
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(file=out), transient=True) as progress:
        progress.add_task(what, total=None)
        done.wait()

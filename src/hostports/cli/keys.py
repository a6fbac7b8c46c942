"""The keys of ``hostports top``: what they mean, and how they are read."""

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TextIO

from hostports.cli.rows import View

HELP: Final = "q quit  / filter  r reverse  sort: p(ackets) b(ytes) c(onns) e(ndpoint) h(ost)"

_SORTINGS: Final = {
    "p": "packets",
    "b": "bytes",
    "c": "connections",
    "e": "endpoint",
    "h": "host",
}
_ESCAPE: Final = "\x1b"
_ERASE: Final = "\x7f\b"
_ENTER: Final = "\r\n"


class Viewing(NamedTuple):
    """What is shown; while `typing`, keys are the filter's. `over` is the end."""

    view: View
    typing: bool = False
    over: bool = False


def pressed(now: Viewing, keys: str) -> Viewing:
    """What keys make of it."""
    if keys.startswith(_ESCAPE) and len(keys) > 1:  # an arrow, or the like
        return now
    for key in keys:
        now = _typed(now, key) if now.typing else _commanded(now, key)
    return now


def _commanded(now: Viewing, key: str) -> Viewing:
    if key in _SORTINGS:
        return now._replace(view=now.view._replace(sort=_SORTINGS[key]))
    if key == "r":
        return now._replace(view=now.view._replace(reverse=not now.view.reverse))
    return now._replace(typing=key == "/", over=now.over or key == "q")


def _typed(now: Viewing, key: str) -> Viewing:
    text = now.view.filter
    if key in _ENTER:
        return now._replace(typing=False)
    if key == _ESCAPE:
        return now._replace(view=now.view._replace(filter=""), typing=False)
    if key in _ERASE:
        text = text[:-1]
    elif key.isprintable():
        text += key
    return now._replace(view=now.view._replace(filter=text))


class Keys:
    """A terminal's keys, or none where standard input is no terminal."""

    def __init__(self, descriptor: int | None) -> None:
        self._watched = [] if descriptor is None else [descriptor]

    def read(self, seconds: float) -> str:
        """What is pressed within so many seconds."""
        for descriptor in select.select(self._watched, [], [], seconds)[0]:
            typed = os.read(descriptor, 1024)
            if not typed:  # the terminal is gone
                self._watched.clear()
            return typed.decode(errors="replace")
        return ""


@contextmanager
def keys_of(stream: TextIO | None) -> Iterator[Keys]:
    """Have keys at once and without an echo, for a `with` block."""
    if stream is None or not stream.isatty():
        yield Keys(None)
        return
    descriptor = stream.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""``hostports completion``: scripts for shells."""

import argparse
from collections.abc import Iterator

import shtab

from hostports.cli.parser import build_parser
from hostports.cli.session import Session

_PATHS = {"FILE": shtab.FILE, "PATH": shtab.FILE, "DIR": shtab.DIRECTORY}


def script(do: Session) -> int:
    """Print a shell's completion script."""
    parser = build_parser()
    for action in arguments(parser):
        if action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]  # shtab's own
    text = shtab.complete(parser, do.args.shell)
    document = {"shell": do.args.shell, "script": text}
    return do.console.show(document, lambda _: text)


def arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - as shtab does, there being no other way
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from arguments(command)
        else:
            yield action

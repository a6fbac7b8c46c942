"""Times in words of a command line."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def seconds(least: float, most: float) -> Callable[[str], float]:
    """What reads a time within bounds, for argparse; it refuses others with the bounds named."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = -1
        if not least <= found <= most:
            raise ArgumentTypeError(f"{text!r} is no time from {least:g} to {most:g} seconds")
        return found

    return read

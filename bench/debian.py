"""Debian's programs to measure beside ours: unpacked, as what is installed may run by itself."""

from pathlib import Path
from subprocess import run
from typing import Final

_TESTS: Final = Path(__file__).parents[1] / "tests"


def unpack(folder: Path, *packages: str) -> None:
    """Unpack packages in a folder. Raises `CalledProcessError` if they can't be had."""
    _run("debian.sh", str(folder), *packages)


def unpack_suite(suite: str, folder: Path, *packages: str) -> None:
    """Unpack packages of another Debian in a folder. Raises `CalledProcessError`, as `unpack`."""
    _run("debian_suite.sh", suite, str(folder), *packages)


def _run(script: str, *words: str) -> None:
    run([str(_TESTS / script), *words], check=True, capture_output=True)  # noqa: S603 - our own

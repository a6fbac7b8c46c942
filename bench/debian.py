"""Debian's programs to measure beside ours: unpacked, as what is installed may run by itself."""

from pathlib import Path
from subprocess import run
from typing import Final

_UNPACK: Final = Path(__file__).parents[1] / "tests/debian.sh"


def unpack(folder: Path, *packages: str) -> None:
    """Unpack packages in a folder. Raises `CalledProcessError` if they can't be had."""
    run([str(_UNPACK), str(folder), *packages], check=True, capture_output=True)  # noqa: S603 - our own

"""Programs that refuse to work when a test wants it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory


@contextmanager
def refusing(program: str) -> Iterator[Path]:
    """A file; if it is there, the next call of a program is refused, and it is gone."""
    with TemporaryDirectory() as folder:
        flag, stand_in = Path(folder, "flag"), Path(folder, program)
        refuse = f"rm {flag}; echo line 2 failed >&2; exit 1"
        real = which(program)
        stand_in.write_text(f'#!/bin/sh\nif [ -e {flag} ]; then {refuse}; fi\nexec {real} "$@"\n')
        stand_in.chmod(0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}:{path}"
        try:
            yield flag
        finally:
            os.environ["PATH"] = path

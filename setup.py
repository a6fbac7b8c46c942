"""Compiles the relay's hot modules, where that can be; else they run interpreted.

All else is in pyproject.toml.
"""

import logging
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src")
RELAY = SOURCE / "hostports" / "relay"
sys.path.insert(0, str(SOURCE))

from hostports.relay.compiled import MODULES, build_folder  # noqa: E402 - found by the line above

#: No compiler, no headers of Python, or a mypyc that doesn't know what we write: it ends a process.
REASONS = (Exception, SystemExit)


class BuildApart(build_ext):
    """Puts all that is compiled into the folder that only the very same sources look for."""

    def finalize_options(self) -> None:
        """Now that something is to be compiled, let mypyc translate."""
        try:
            translated = _translated()
        except REASONS as error:
            _tell(error)
            self.distribution.ext_modules = []
        else:
            self.distribution.ext_modules = [*translated, *self.distribution.ext_modules]
        super().finalize_options()

    def run(self) -> None:
        """Build all of it or nothing."""
        try:
            super().run()
        except REASONS as error:
            _tell(error)
            shutil.rmtree(Path(self.build_lib, _folder()), ignore_errors=True)

    def get_ext_fullpath(self, ext_name: str) -> str:
        """Where one extension goes."""
        return str(Path(self.build_lib, _folder(), self.get_ext_filename(ext_name)))

    def copy_extensions_to_source(self) -> None:
        """Serve an editable installation, and leave none of an earlier one's."""
        shutil.rmtree(RELAY / "compiled", ignore_errors=True)
        shutil.copytree(Path(self.build_lib, _folder()), SOURCE / _folder())


def _folder() -> Path:
    return Path("hostports") / build_folder()


def _translated() -> list[Extension]:
    from mypyc.build import mypycify  # noqa: PLC0415 - takes a while, and most commands need none

    return mypycify([str(RELAY / f"{name}.py") for name in MODULES], opt_level="3")


def _tell(error: BaseException) -> None:
    logging.warning("hostports: the relay will run interpreted: %s", error)


setup(
    ext_modules=[Extension("hostports.relay.fastcalls", [str(RELAY / "fastcalls.c")])],
    cmdclass={"build_ext": BuildApart},
)

"""The relay's hot modules as machine code: mypyc compiles the very same sources on installation.

A build lies in a folder that is named after its sources. So whoever edits them runs what they say
now, interpreted, until they are compiled again; nothing stale is ever found.
"""

import os
import sys
from importlib.util import source_hash
from pathlib import Path
from typing import Final

from hostports import relay

#: What is compiled: all that a connection passes through.
MODULES: Final = ("connection", "flow", "listener", "pipes", "poller", "streams")
#: Set to anything, it lets the relay run interpreted.
INTERPRETED: Final = "HOSTPORTS_RELAY_INTERPRETED"
#: Where those modules are, and all that they were compiled to know.
_ROOMS: Final = ("model", "core/relay", "relay")
#: The folder of ``hostports``.
PACKAGE: Final = Path(__file__).parent.parent


def build_folder() -> Path:
    """Where a build of the sources as they are now belongs, below the folder of ``hostports``."""
    files = (each for room in _ROOMS for each in (PACKAGE / room).iterdir())
    sources = sorted(each for each in files if each.suffix in {".py", ".c"})
    told_apart = b"".join(each.name.encode() + each.read_bytes() for each in sources)
    return Path("relay", "compiled", source_hash(told_apart).hex())


def found() -> bool:
    """Whether there is one that is to be used."""
    return (PACKAGE / build_folder()).is_dir() and INTERPRETED not in os.environ


def use_compiled() -> None:
    """Let what is imported from now on be compiled code, if there is any."""
    if found():
        folder = PACKAGE / build_folder()
        sys.path.append(str(folder))
        relay.__path__.insert(0, str(folder / "hostports" / "relay"))

"""Memory that a large request has left free in the process, given back to the system."""

import ctypes
from contextlib import suppress
from typing import Final

_libc: Final = ctypes.CDLL(None)


def give_back() -> None:
    """Let the allocator return what it keeps (malloc_trim(3)); not every libc has that."""
    with suppress(AttributeError):
        _libc.malloc_trim(0)

"""Large requests: a hundred thousand objects and texts of megabytes, which don't stay in memory."""

import ctypes
import gc
from contextlib import suppress
from typing import Final

_libc: Final = ctypes.CDLL(None)
#: Objects made before the garbage collector looks at them, and how much rarer at older ones.
_COLLECTIONS: Final = (50_000, 20, 50)
#: Bytes from which on a buffer is taken from the system, and given back to it at once.
_LARGE: Final = 1 << 16
#: The parameter of mallopt(3).
_MMAP_THRESHOLD: Final = -3


def expect_large_requests() -> None:
    """Let the garbage collector look rarely, and the allocator keep no large buffers."""
    # None of the objects are in circles: looking for these every 700 objects, as is the default,
    # takes a fifth of the time.
    gc.set_threshold(*_COLLECTIONS)
    # Else the allocator takes what it has seen freed for small, and the next goes into its heap.
    with suppress(AttributeError):  # not every libc has that
        _libc.mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Let the allocator return what it keeps (malloc_trim(3)); not every libc has that."""
    with suppress(AttributeError):
        _libc.malloc_trim(0)

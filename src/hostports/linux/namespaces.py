"""Network namespaces: what they are called, and netlink inside them."""

import ctypes
import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fcntl import ioctl
from pathlib import Path
from typing import Final, TypeVar

from pyroute2 import IPRoute

from hostports.errors import NotPermitted, UnusableValue, quoted

#: Where ``ip netns`` keeps the namespaces that have names.
_NAMED: Final = Path("/run/netns")
#: The namespace of the calling thread; /proc/self would be that of the first one.
_OWN: Final = Path("/proc/thread-self/ns/net")
_OF_PROCESS: Final = re.compile(r"/proc/(\d{1,10})/ns/net", re.ASCII)

#: linux/nsfs.h and linux/sched.h; Python has them from 3.12 on.
_NS_GET_NSTYPE: Final = 0xB703
_CLONE_NEWNET: Final = 0x40000000

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def namespace_path(text: str) -> str:
    """The file of a network namespace given by name (``web``) or by path.

    Raises `UnusableValue`, or `NotPermitted` where we may not look.
    """
    if process := _OF_PROCESS.fullmatch(text):
        return namespace_of(int(process[1]))
    path = Path(text).absolute() if "/" in text else _NAMED / text
    mend = "write a name as `ip netns` shows it, or a path"
    return _usable(str(path), text, f"there is no {quoted(str(path))}", mend)


def namespace_of(pid: int) -> str:
    """The file of a process's network namespace. Raises as `namespace_path` does."""
    missing = "there is no such process"
    return _usable(f"/proc/{pid}/ns/net", str(pid), missing, "give the pid of one that runs")


def open_namespace(path: str) -> int:
    """A descriptor of a network namespace.

    Raises `OSError`; EINVAL for what is there but no network namespace. Nothing else is opened:
    that alone makes some devices act.
    """
    if Path(path).stat().st_dev != _OWN.stat().st_dev:
        raise _no_namespace()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ioctl(descriptor, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            raise _no_namespace()
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_own(namespace: int) -> bool:
    """Whether a namespace, by its descriptor, is the one that the calling thread is in."""
    return os.path.samestat(os.fstat(namespace), _OWN.stat())


def with_netlink(work: Callable[[IPRoute], T], namespace: int | None = None) -> T:
    """What some work with netlink gives: in the caller's namespace, or by descriptor in another.

    pyroute2 brings an event loop, and a thread can't run two: so this one does nothing else.
    """

    def with_links() -> T:
        # Of no group, as nothing is read that wasn't asked for; errors in the kernel's words.
        with IPRoute(groups=0, ext_ack=True) as links:
            return work(links)

    return in_own_thread(with_links, namespace)


def in_own_thread(work: Callable[[], T], namespace: int | None = None) -> T:
    """What some work gives in a thread of its own, which may enter a namespace by its descriptor.

    It begins in its maker's namespace, and need not come back.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_entered, work, namespace).result()


def _entered(work: Callable[[], T], namespace: int | None) -> T:
    if namespace is not None and _LIBC.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return work()


def _usable(path: str, word: str, missing: str, mend: str) -> str:
    """A path, if it is a network namespace's."""
    try:
        os.close(open_namespace(path))
    except PermissionError as error:
        raise NotPermitted(
            f"{quoted(path)} can't be opened: {error.strerror}", "run as root"
        ) from error
    except FileNotFoundError as error:
        raise UnusableValue(word, missing, mend) from error
    except OSError as error:
        raise UnusableValue(word, str(error.strerror), mend) from error
    except ValueError as error:
        raise UnusableValue(word, "it can't be the name of a file", mend) from error
    return path


def _no_namespace() -> OSError:
    return OSError(errno.EINVAL, "it is no network namespace")

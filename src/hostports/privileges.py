"""Processes that serve strangers give up root, capabilities, and the way back to them.

Their sockets come bound and they dial as anybody may, so they need no capability at all.
"""

import ctypes
import os
import pwd
import resource
from contextlib import suppress
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
#: linux/prctl.h
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
#: linux/capability.h: version 3, for which struct cap_user_data_t comes twice.
_CAPABILITY_VERSION_3: Final = 0x20080522
#: Capabilities that a kernel may know of.
_MOST_CAPABILITIES: Final = 64


def drop_privileges(user: str) -> None:
    """Become a user, if root, and keep no capability and no way to get one. Raises `OSError`.

    Raises `KeyError` if there is no such user. Inside a user namespace that has no place for the
    user, as RootlessKit's, whoever started the process stays its user.
    """
    for capability in range(_MOST_CAPABILITIES):
        if _prctl(_PR_CAPBSET_READ, capability) == 1:
            # Without CAP_SETPCAP they stay, for programs that nobody will ever start.
            _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if os.geteuid() == 0:
        _become(pwd.getpwnam(user))
    _drop_capabilities()
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    # Other processes of the same user may not look into ours.
    _prctl(_PR_SET_DUMPABLE, 0)


def raise_descriptor_limit() -> None:
    """Open as many files as may be (RLIMIT_NOFILE)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _become(user: pwd.struct_passwd) -> None:
    with suppress(PermissionError):  # /proc/self/setgroups is "deny"
        os.setgroups([])
    with suppress(OSError):  # EINVAL: no such user in this user namespace
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, argument: int) -> int:
    result: int = _libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0)))
    return result

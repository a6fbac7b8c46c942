"""Kernel settings of the network namespace, by /proc/sys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hostports.errors import FirewallFailed, HostportsError, NotPermitted

_ROOT: Final = Path("/proc/sys")
_DOTS: Final = str.maketrans("./", "/.")


def read(name: str) -> str:
    """The value of a setting; empty where the kernel doesn't have it."""
    try:
        return _path(name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def write(wanted: Mapping[str, str]) -> dict[str, str]:
    """Set settings, all or none, and return the former values of those that were different.

    Raises `NotPermitted`, or `FirewallFailed` for a setting that isn't there.
    """
    former: dict[str, str] = {}
    for name, value in wanted.items():
        try:
            was = _path(name).read_text(encoding="ascii").strip()
            if was != value:
                _path(name).write_text(value, encoding="ascii")
                former[name] = was
        except OSError as error:
            write(former)
            raise _translated(name, error) from error
    return former


def _path(name: str) -> Path:
    """Where a setting is; the dots of an interface's name are slashes in the setting's."""
    return _ROOT / name.translate(_DOTS)


def _translated(name: str, error: OSError) -> HostportsError:
    if isinstance(error, PermissionError):
        return NotPermitted(f"{name} can't be set: {error.strerror}", "run as root")
    module = "br_netfilter" if name.startswith("net.bridge.") else "ipv6"
    return FirewallFailed(
        f"{name} can't be set: {error.strerror}", f"load the kernel module {module}"
    )

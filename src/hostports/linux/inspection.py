"""What `doctor` looks at: rules of others, and kernel settings."""

import re
import subprocess
from pathlib import Path
from typing import Final

from hostports.core.rules.settings import FORWARDING
from hostports.core.rules.skeleton import TABLE
from hostports.errors import FirewallFailed
from hostports.linux import sysctl
from hostports.model.address import Family
from hostports.model.condition import Condition

_TABLE: Final = re.compile(r"^table (\S+ \S+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_DROPPING: Final = re.compile(
    r"chain (\S+) \{\s+type filter hook forward priority [^;]+; policy drop;"
)
_LEGACY: Final = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))


class LinuxInspection:
    """`Inspection` of the network namespace that the calling thread is in.

    Without a firewall of `ours` nothing is forwarded for anybody, so nobody's rules matter.
    """

    def __init__(self, *, ours: bool) -> None:
        self._ours = ours

    def read(self) -> Condition:
        """The host as it is now. Raises `FirewallFailed` if nft can't be asked."""
        if not self._ours:
            return Condition(forwards=dict.fromkeys(Family, True))
        tables = dict(_TABLE.findall(_chains()))
        ours = f"inet {TABLE}"
        return Condition(
            firewall_there=ours in tables,
            forwards={of: sysctl.read(names[-1]) == "1" for of, names in FORWARDING.items()},
            drops=tuple(
                f"{table} {chain}"
                for table, listed in tables.items()
                if table != ours
                for chain in _DROPPING.findall(listed)
            ),
            legacy_tables=any(map(_names_tables, _LEGACY)),
        )


def _chains() -> str:
    try:
        done = subprocess.run(["nft", "list", "chains"], capture_output=True, text=True, check=True)  # noqa: S607 - where the system has it
    except (OSError, subprocess.CalledProcessError) as error:
        raise FirewallFailed(f"nft can't be asked: {error}", "install nftables") from error
    return done.stdout


def _names_tables(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="ascii").strip())
    except OSError:
        return False

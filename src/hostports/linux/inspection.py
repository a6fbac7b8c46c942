"""What `doctor` looks at: everybody's rules, kernel settings, interfaces, and who listens."""

import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from hostports.core.rules.settings import BRIDGE_CALLS, FORWARDING, of_interface
from hostports.errors import FirewallFailed, HostportsError
from hostports.linux import sysctl
from hostports.linux.inside import look_inside
from hostports.linux.listening import listening
from hostports.linux.namespaces import in_own_thread, with_netlink
from hostports.model.address import Family
from hostports.model.condition import Condition, IPInterface, OurFirewall, SavedTables
from hostports.model.port import SocketAddress

_TOOLS: Final = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
#: Tables of iptables-legacy that the kernel has, of the thread's namespace.
_LEGACY: Final = {
    Family.IPV4: Path("/proc/thread-self/net/ip_tables_names"),
    Family.IPV6: Path("/proc/thread-self/net/ip6_tables_names"),
}
#: Settings of each interface that decide what becomes of packets that come by it.
_OF_INTERFACES: Final = ("rp_filter", "forwarding")
_IFF_UP: Final = 1
_MAIN_TABLE: Final = 254
_VERSIONS: Final = {2: Family.IPV4, 10: Family.IPV6}


class LinuxInspection:
    """`Inspection` of the network namespace that the calling thread is in.

    Only where our rules are made by nft it must be there.
    """

    def __init__(self, ours: OurFirewall) -> None:
        self._ours = ours

    def read(self, namespaces: Collection[str] = ()) -> Condition:
        """The host as it is now. Raises `FirewallFailed` if nft can't be asked."""
        ruleset = self._nft("-j", "list", "ruleset")
        saved = [*_saved_by_nft(), *_saved_by_legacy()]
        read = {each.family for each in saved if each.legacy}
        interfaces, uplinks = with_netlink(_interfaces)
        inside = {each: found for each in namespaces if (found := look_inside(each))}
        return Condition(
            ours=self._ours,
            nft=ruleset,
            nft_text=self._nft("-s", "-a", "-t", "list", "ruleset"),
            saved=tuple(saved),
            unread=tuple(of for of in Family if of not in read and _has_legacy(of)),
            settings=_settings(interfaces),
            interfaces=interfaces,
            uplinks=uplinks,
            listening=_listening(),
            inside=inside,
        )

    def _nft(self, *arguments: str) -> str:
        try:
            return _said("nft", *arguments)
        except (OSError, subprocess.CalledProcessError) as error:
            if self._ours is not OurFirewall.NFTABLES:
                return ""
            raise FirewallFailed(f"nft can't be asked: {error}", "install nftables") from error


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - where the system has it
    return done.stdout


def _saved_by_nft() -> Iterator[SavedTables]:
    for of, tool in _TOOLS.items():
        yield from _saved(of, tool, "nft")


def _saved_by_legacy() -> Iterator[SavedTables]:
    """Asked only for tables that are there: asking makes them."""
    for of, tool in _TOOLS.items():
        if _has_legacy(of):
            yield from _saved(of, tool, "legacy")


def _saved(of: Family, tool: str, variant: str) -> Iterator[SavedTables]:
    """What the tool of a variant tells; nothing where it is missing, or may not."""
    usual = _is_variant(tool, variant)
    command = tool if usual else f"{tool}-{variant}"
    for name in (f"{tool}-{variant}-save", *([f"{tool}-save"] if usual else [])):
        with suppress(OSError, subprocess.CalledProcessError):
            yield SavedTables(of, command, _said(name), variant == "legacy")
            return


def _is_variant(tool: str, variant: str) -> bool:
    """Whether ``iptables`` is this one of its two kinds, by the name of its program."""
    found = shutil.which(tool)
    return found is not None and variant in Path(found).resolve().name


def _has_legacy(of: Family) -> bool:
    try:
        return bool(_LEGACY[of].read_text(encoding="ascii").strip())
    except OSError:
        return False


def _settings(interfaces: Collection[str]) -> Mapping[str, str]:
    names = [*(names[-1] for names in FORWARDING.values()), *BRIDGE_CALLS.values()]
    names += [of_interface(one, each) for one in ("all", *interfaces) for each in _OF_INTERFACES]
    return {each: sysctl.read(each) for each in names}


def _interfaces(
    links: IPRoute,
) -> tuple[Mapping[str, tuple[IPInterface, ...]], Mapping[Family, tuple[str, ...]]]:
    """The interfaces that are up, with their addresses, and those of default routes, best first."""
    names = {
        each["index"]: str(each.get_attr("IFLA_IFNAME"))
        for each in links.get_links()
        if each["flags"] & _IFF_UP
    }
    addresses: dict[str, tuple[IPInterface, ...]] = dict.fromkeys(names.values(), ())
    for each in links.get_addr():
        if name := names.get(each["index"]):
            ip = each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
            addresses[name] += (ip_interface(f"{ip}/{each['prefixlen']}"),)
    return addresses, {of: _uplinks(links, number, names) for number, of in _VERSIONS.items()}


def _uplinks(links: IPRoute, number: int, names: Mapping[int, str]) -> tuple[str, ...]:
    routes = [
        each
        for each in links.get_routes(family=number)
        if each["dst_len"] == 0 and each.get_attr("RTA_TABLE") == _MAIN_TABLE
    ]
    routes.sort(key=lambda each: each.get_attr("RTA_PRIORITY") or 0)
    ways = [way for each in routes for way in _ways(each)]
    return tuple(dict.fromkeys(names[each] for each in ways if each in names))


def _ways(route: Any) -> list[int]:  # noqa: ANN401 - pyroute2 has no types
    several = route.get_attr("RTA_MULTIPATH")
    return [each["oif"] for each in several] if several else [route.get_attr("RTA_OIF") or 0]


def _listening() -> Set[SocketAddress] | None:
    try:
        return in_own_thread(listening)
    except (OSError, NetlinkError, HostportsError):
        return None

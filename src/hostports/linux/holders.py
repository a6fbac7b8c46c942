"""Who holds a host port: the kernel's socket table (sock_diag(7)), then /proc/*/fd (proc(5)).

Asked only when a request has failed, for the sake of its message: it never raises.
"""

import os
import socket
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from pyroute2 import DiagSocket
from pyroute2.netlink.exceptions import NetlinkError

from hostports.linux.listening import is_dual_stack
from hostports.linux.namespaces import in_own_thread
from hostports.linux.processes import runs
from hostports.model.address import IPAddress, overlap, unmapped
from hostports.model.port import SocketAddress
from hostports.model.relay import RELAY_MODULE

#: All TCP states (1-12), and bit 13: bound but neither listening nor connected (Linux 6.8).
_EVERY_STATE: Final = 0x3FFF
_LISTENING: Final = 10
_PROC: Final = Path("/proc")


def holder(address: SocketAddress) -> str:
    """The process whose socket is in the way of an address, as ``nginx (pid 812)``.

    Of several that share the socket, the first one and how many more. Empty where nobody can tell:
    the process is in another PID namespace, or the socket is the kernel's or closed meanwhile.
    """
    try:
        # pyroute2 brings an event loop, and a thread can't run two.
        inodes = in_own_thread(partial(_inodes, address))
        owners = _owners(inodes) if inodes else {}
    except (OSError, NetlinkError):
        return ""
    for inode in inodes:
        if processes := sorted(owners.get(inode, ())):
            pid, name = processes[0]
            more = f" and {len(processes) - 1} more" if len(processes) > 1 else ""
            return f"{name} (pid {pid}){more}"
    return ""


def _inodes(address: SocketAddress) -> list[int]:
    """The sockets that an address would meet, those that listen first."""
    found: dict[int, bool] = {}
    with DiagSocket() as diag:
        diag.bind()
        for family in (socket.AF_INET, socket.AF_INET6):
            for each in diag.get_sock_stats(
                family=family,
                states=_EVERY_STATE,
                protocol=address.protocol.number,
                sport=address.port,
            ):
                if each["idiag_inode"] and _meets(each, address.ip):
                    found[each["idiag_inode"]] = each["idiag_state"] == _LISTENING
    return sorted(found, key=lambda inode: not found[inode])


def _meets(found: Any, ip: IPAddress) -> bool:  # noqa: ANN401 - pyroute2 has no types
    """Whether a socket found by port overlaps an address; ``[::]`` may hold IPv4, too."""
    other = ip_address(found["idiag_src"])
    return is_dual_stack(found) or overlap(unmapped(other), ip)


def _owners(inodes: Iterable[int]) -> dict[int, set[tuple[int, str]]]:
    """The processes, as pid and name, that have descriptors of sockets."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    owners: defaultdict[int, set[tuple[int, str]]] = defaultdict(set)
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            for link in links.keys() & _links(process):
                owners[links[link]].add((int(process.name), _name(process)))
    return owners


def _links(process: Path) -> set[str]:
    """What a process's descriptors are; it may end while we look, or be none of our business."""
    links: set[str] = set()
    with suppress(OSError), os.scandir(process / "fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                links.add(os.readlink(descriptor.path))  # noqa: PTH115 - a server may have 100,000
    return links


def _name(process: Path) -> str:
    """What the process calls itself; it may not add lines or escapes to our message."""
    if runs(int(process.name), RELAY_MODULE):
        return RELAY_MODULE  # and not python3, as which nobody would know it
    try:
        name = (process / "comm").read_text(encoding="utf-8", errors="replace").removesuffix("\n")
    except OSError:
        return "a process"
    return "".join(each if each.isprintable() else "?" for each in name)

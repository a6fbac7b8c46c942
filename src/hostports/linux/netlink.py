"""What is done to one interface by netlink, the kernel's refusals translated into one line.

Linux does part of its work later, in work queues: an IPv6 address is there before packets find it,
and an interface is up before it sends. What is done here is waited for, so that it works at once.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from time import monotonic, sleep
from types import MappingProxyType
from typing import Final, TypeAlias

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from hostports.errors import LinkFailed, NotPermitted

#: An address with the length of its subnet, as interfaces have them.
IPInterface: TypeAlias = IPv4Interface | IPv6Interface

_IPV6_SETTINGS: Final = Path("/proc/sys/net/ipv6/conf")

# linux/if_addr.h and linux/rtnetlink.h
_IFA_F_NODAD: Final = 0x02
_RTN_LOCAL: Final = 2
#: linux/if.h
IFF_UP: Final = 1

#: How long Linux's work queues get, which take milliseconds.
_PATIENCE_S: Final = 5.0
_GLANCE_S: Final = 0.001

#: The mends for what the kernel may say to a step.
_NO_MENDS: Final[Mapping[int, str]] = MappingProxyType({})
_SETTING: Final = {
    errno.ENOENT: "load the kernel module ipv6, or use a network without an IPv6 subnet",
    errno.EROFS: "mount /proc/sys writable",
}


@contextmanager
def translated(what: str, mends: Mapping[int, str] = _NO_MENDS) -> Iterator[None]:
    """Raise `LinkFailed` or `NotPermitted` for what the kernel refuses.

    `what` could not be done (``bridge 'br0' can't be made``); `mends` are hints by error number.
    """
    try:
        yield
    except NetlinkError as error:
        raise _translation(what, error.code, error.args[-1], mends) from error
    except OSError as error:
        number = error.errno or errno.EIO
        raise _translation(what, number, error.strerror or os.strerror(number), mends) from error


def _translation(
    what: str, number: int, reason: str, mends: Mapping[int, str]
) -> LinkFailed | NotPermitted:
    message = f"{what}: {reason.rstrip('.')}"
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted(message, "run as root or with CAP_NET_ADMIN")
    return LinkFailed(message, mends.get(number, ""))


def find(links: IPRoute, name: str) -> ifinfmsg | None:
    """An interface by its name, without a look at all the others."""
    with translated(f"interface {name!r} can't be looked at"):
        try:
            (found,) = links.link("get", ifname=name)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
    return found


def index_of(links: IPRoute, name: str) -> int:
    """The number of an interface that has to be there."""
    found = find(links, name)
    if found is None:
        raise LinkFailed(f"interface {name!r} is gone, though it was there just now")
    return int(found["index"])


def kind(link: ifinfmsg) -> str:
    """What an interface is: ``bridge``, ``veth``, …; empty for hardware and loopback."""
    return link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""


def remove(links: IPRoute, name: str, of_kind: str) -> None:
    """Remove an interface; no effect where it is gone, or where another kind has its name."""
    found = find(links, name)
    if found is not None and kind(found) == of_kind:
        delete(links, found["index"], name)


def delete(links: IPRoute, index: int, name: str) -> None:
    """Remove an interface by its number; no effect where it is gone."""
    with translated(f"interface {name!r} can't be removed"):
        try:
            links.link("del", index=index)
        except NetlinkError as error:
            # A namespace that ends takes its interfaces along at any moment.
            if error.code != errno.ENODEV:
                raise


def set_ipv6(name: str, **settings: str) -> None:
    """Change an interface's IPv6 settings, by path, as its name may have dots.

    Its link-local address, too, is to be there at once: the host looks for neighbours with it.
    """
    if settings["disable_ipv6"] == "1" and not _IPV6_SETTINGS.exists():
        return
    for setting, value in {"accept_dad": "0", **settings}.items():
        path = _IPV6_SETTINGS / name / setting
        with translated(f"{setting} of interface {name!r} can't be set to {value}", _SETTING):
            if path.read_text(encoding="ascii").strip() != value:
                path.write_text(value, encoding="ascii")


def set_up(links: IPRoute, name: str) -> None:
    """Set an interface up."""
    with translated(f"interface {name!r} can't be set up"):
        links.link("set", index=index_of(links, name), state="up")


def add_addresses(links: IPRoute, name: str, addresses: Iterable[IPInterface]) -> None:
    """Give an interface addresses.

    We give them out ourselves, so nobody needs to be asked whether they are free, for a second.
    """
    index = index_of(links, name)
    for each in addresses:
        where = {"index": index, "address": str(each.ip), "prefixlen": each.network.prefixlen}
        with translated(f"interface {name!r} can't have the address {each}"):
            links.addr("add", **where, IFA_FLAGS=_IFA_F_NODAD)


def without_those_of(
    links: IPRoute, index: int, addresses: Iterable[IPInterface]
) -> list[IPInterface]:
    """The addresses that an interface, by its number, doesn't have."""
    there = {str(each.get_attr("IFA_ADDRESS")) for each in links.get_addr(index=index)}
    return [each for each in addresses if str(each.ip) not in there]


def wait_until_reached(links: IPRoute, name: str, addresses: Iterable[IPInterface]) -> None:
    """Wait until packets find an interface's addresses: IPv6's local routes come later."""
    for each in addresses:
        if not _eventually(partial(_is_local, links, each)):
            raise LinkFailed(f"{each.ip} of interface {name!r} can't be used: it gets no route")


def wait_until_sending(links: IPRoute, name: str) -> None:
    """Wait until an interface sends what it is given; before that it drops it.

    Not for ever: a bridge with spanning tree takes half a minute.
    """
    _eventually(partial(_sends, links, name))


def _sends(links: IPRoute, name: str) -> bool:
    found = find(links, name)
    return found is None or found.get_attr("IFLA_OPERSTATE") == "UP"


def _is_local(links: IPRoute, address: IPInterface) -> bool:
    try:
        (route,) = links.route("get", dst=str(address.ip))
    except NetlinkError:
        return False
    return bool(route["type"] == _RTN_LOCAL)


def _eventually(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds; False if it doesn't."""
    deadline = monotonic() + _PATIENCE_S
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(_GLANCE_S)
    return True

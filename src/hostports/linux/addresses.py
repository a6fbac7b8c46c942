"""The addresses of one interface, by netlink."""

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from hostports.linux.namespaces import with_netlink
from hostports.linux.netlink import find, translated
from hostports.model.host import InterfaceAddress

# linux/if_addr.h
_IFA_F_TEMPORARY: Final = 0x01
_IFA_F_OPTIMISTIC: Final = 0x04
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_TENTATIVE: Final = 0x40


def addresses_of(interface: str) -> Sequence[InterfaceAddress] | None:
    """Those of an interface; None if there is none.

    Raises `LinkFailed` or `NotPermitted`.
    """
    return with_netlink(partial(_read, interface=interface))


def _read(links: IPRoute, interface: str) -> Sequence[InterfaceAddress] | None:
    found = find(links, interface)
    if found is None:
        return None
    with translated(f"the addresses of interface {interface!r} can't be read"):
        return [_address(each) for each in links.get_addr(index=found["index"])]


def _address(told: ifaddrmsg) -> InterfaceAddress:
    """IFA_LOCAL is ours, where IFA_ADDRESS may be the other end's; IPv6 has it only then."""
    flags = told.get_attr("IFA_FLAGS", told["flags"])
    ip = ip_address(told.get_attr("IFA_LOCAL") or told.get_attr("IFA_ADDRESS"))
    ipv6 = ip.version == 6  # for IPv4 the bit of temporary ones means secondary ones
    checked = not flags & _IFA_F_TENTATIVE or bool(flags & _IFA_F_OPTIMISTIC)
    return InterfaceAddress(
        ip,
        tentative=not checked or bool(flags & _IFA_F_DADFAILED),
        temporary=ipv6 and bool(flags & _IFA_F_TEMPORARY),
    )

"""IP addresses and subnets as requests write them."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Final

from hostports.errors import UnusableValue
from hostports.model.address import IPAddress, IPNetwork, unmapped

_CIDR: Final = re.compile(r"[0-9a-f:.]+/[0-9]+", re.ASCII | re.IGNORECASE)
_ADDRESS: Final = "write one as 192.0.2.1 or 2001:db8::1"
_SUBNET: Final = "write one as 10.0.0.0/24 or fd00:1::/64"


def address(text: str) -> IPAddress:
    """The address that a text means, IPv4-mapped ones being IPv4. Raises `UnusableValue`."""
    try:
        return unmapped(ip_address(_without_zone(text)))
    except ValueError:
        raise UnusableValue(text, "it is no IP address", _ADDRESS) from None


def ipv4(text: str | None) -> IPv4Address | None:
    """The IPv4 address that a text means, if there is one. Raises `UnusableValue`."""
    ip = None if text is None else address(text)
    if isinstance(ip, IPv6Address):
        raise UnusableValue(str(ip), "it is no IPv4 address", "write one as 192.0.2.1")
    return ip


def ipv6(text: str | None) -> IPv6Address | None:
    """The IPv6 address that a text means, if there is one. Raises `UnusableValue`."""
    ip = None if text is None else address(text)
    if isinstance(ip, IPv4Address):
        raise UnusableValue(str(ip), "it is no IPv6 address", "write one as 2001:db8::1")
    return ip


def subnet(text: str) -> IPNetwork:
    """The subnet that a text means. Raises `UnusableValue`, also for host bits that are set."""
    # Python takes netmasks, too, and addresses without a length.
    if not _CIDR.fullmatch(text):
        raise UnusableValue(text, "it is no subnet", _SUBNET)
    try:
        meant = ip_interface(text)
    except ValueError:
        raise UnusableValue(text, "it is no subnet", _SUBNET) from None
    if meant.ip != meant.network.network_address:
        raise UnusableValue(text, "host bits are set", f"write {meant.network}")
    return meant.network


def source(text: str) -> IPNetwork:
    """Whom an allowlist lets through: a subnet, or one address. Raises `UnusableValue`."""
    if "/" in text:
        return subnet(text)
    try:
        return ip_interface(address(text)).network
    except UnusableValue:
        raise UnusableValue(
            text, "it is neither a subnet nor an address", "write 192.0.2.0/24 or 192.0.2.1"
        ) from None


def _without_zone(text: str) -> str:
    """A zone belongs to an interface of one host, not to an address."""
    if "%" in text:
        raise ValueError(text)
    return text

"""IP addresses as port bindings use them: families, wildcards, IPv4-mapped addresses."""

from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network


class Family(IntEnum):
    """An address family, by its IP version."""

    IPV4 = 4
    IPV6 = 6

    @property
    def wildcard(self) -> IPAddress:
        """The address that stands for every address of the family."""
        return ANY_IPV4 if self is Family.IPV4 else ANY_IPV6


ANY_IPV4: Final = IPv4Address("0.0.0.0")
ANY_IPV6: Final = IPv6Address("::")

#: An address, or a network, as text: thousands of ports lead to one, and spelling it takes time.
spelled: Final = lru_cache(4096)(str)


def family(ip: IPAddress) -> Family:
    """The family of an address; an IPv4-mapped IPv6 address is IPv6 here, see `unmapped`."""
    return Family.IPV4 if isinstance(ip, IPv4Address) else Family.IPV6


def is_wildcard(ip: IPAddress) -> bool:
    """Whether the address stands for every address of its family."""
    return int(ip) == 0


def overlap(one: IPAddress, other: IPAddress) -> bool:
    """Whether some address is meant by both: they are equal, or one is the other's wildcard."""
    if one.version != other.version:
        return False
    return one == other or is_wildcard(one) or is_wildcard(other)


def unmapped(ip: IPAddress) -> IPAddress:
    """The IPv4 address within an IPv4-mapped one (RFC 4291 2.5.5.2), else the address itself."""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip

"""Which address RootlessKit forwards to inside its namespace (moby 28.5 rlkclient)."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hostports.model.address import Family, IPAddress, family
from hostports.model.host import PortDriverInfo

_LOOPBACK: Final[dict[Family, IPAddress]] = {
    Family.IPV4: IPv4Address("127.0.0.1"),
    Family.IPV6: IPv6Address("::1"),
}


def child_ip(driver: PortDriverInfo, host_ip: IPAddress) -> IPAddress | None:
    """The child address for a host address; None where sockets are bound on the host address."""
    if not driver.forwards:
        return None
    if driver.disallows_loopback_child_ip:
        return driver.child_ip
    return _LOOPBACK[family(host_ip)]

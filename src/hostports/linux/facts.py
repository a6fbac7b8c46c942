"""What requests need to know of the host, read anew each time: /proc, two probes, netlink."""

import socket
from collections.abc import Iterator, Sequence, Set

from hostports.linux import sysctl
from hostports.linux.addresses import addresses_of
from hostports.model.host import DEFAULT_DYNAMIC_PORTS, Host, InterfaceAddress
from hostports.model.port import PortRange, Protocol


class LinuxHostFacts:
    """`HostFacts` of the network namespace that the calling thread is in.

    `dynamic` are the ports that somebody chose instead of the kernel's dynamic range.
    """

    def __init__(self, dynamic: PortRange | None = None) -> None:
        self._dynamic = dynamic

    def read(self) -> Host:
        """The host as it is now."""
        return Host(
            listens_on_ipv6=_binds_ipv6_loopback(),
            dynamic_ports=self._dynamic
            or dynamic_ports(sysctl.read("net.ipv4.ip_local_port_range")),
            reserved_ports=reserved_ports(sysctl.read("net.ipv4.ip_local_reserved_ports")),
            protocols=_protocols(),
        )

    def addresses(self, interface: str) -> Sequence[InterfaceAddress] | None:
        """Those of an interface, by netlink."""
        return addresses_of(interface)


def dynamic_ports(text: str) -> PortRange:
    """The range in ``net.ipv4.ip_local_port_range``: two numbers; a default if it isn't there."""
    if not text.split():
        return DEFAULT_DYNAMIC_PORTS
    first, last = map(int, text.split())
    return PortRange(first, last)


def reserved_ports(text: str) -> Set[int]:
    """The ports in ``net.ipv4.ip_local_reserved_ports``: ``8080,9148-9150``."""
    return frozenset(_listed(text.strip()))


def _listed(text: str) -> Iterator[int]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _binds_ipv6_loopback() -> bool:
    """Whether the host listens on IPv6 at all (moby 28.5): IPv6 may be switched off meanwhile."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _protocols() -> Set[Protocol]:
    """TCP and UDP always; SCTP where the kernel has it (or can load it)."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return frozenset({Protocol.TCP, Protocol.UDP})
    return frozenset(Protocol)

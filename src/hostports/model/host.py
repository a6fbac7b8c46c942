"""What a decision may know of the host; read anew for each request, never remembered."""

from collections.abc import Set
from dataclasses import dataclass, field

from hostports.errors import UnusableValue
from hostports.model.address import Family, IPAddress, unmapped
from hostports.model.port import PortRange, Protocol

#: The dynamic range where the kernel's can't be read (moby 28.5, RFC 6335 section 6).
DEFAULT_DYNAMIC_PORTS = PortRange(49153, 65535)

#: RootlessKit port drivers that forward nothing: an address is its own child (moby 28.5).
_FORWARDS_NOTHING = frozenset({"", "none", "implicit"})


@dataclass(frozen=True, slots=True)
class PortDriverInfo:
    """What RootlessKit's ``GET /v1/info`` says of its port driver.

    `protocols` are its words: ``tcp4``, ``udp6``. `child_ip` is the network driver's child address,
    the only one a driver can forward to if it `disallows_loopback_child_ip`; raises `UnusableValue`
    if such a driver has none. One that `hides_clients` connects to the child itself, so that all
    clients have its address.
    """

    name: str = ""
    protocols: frozenset[str] = frozenset()
    disallows_loopback_child_ip: bool = False
    child_ip: IPAddress | None = None
    network_driver: str = ""
    hides_clients: bool = False

    def __post_init__(self) -> None:
        if self.child_ip is not None:
            object.__setattr__(self, "child_ip", unmapped(self.child_ip))
        if self.forwards and self.disallows_loopback_child_ip and self.child_ip is None:
            raise UnusableValue(
                f"RootlessKit port driver {self.name!r}",
                f"it can't forward to loopback and network driver {self.network_driver!r} "
                "has no other child address",
                "start RootlessKit with another --port-driver or --net",
            )

    @property
    def forwards(self) -> bool:
        """Whether ports are announced to it at all."""
        return self.name not in _FORWARDS_NOTHING

    def supports(self, protocol: Protocol, family: Family) -> bool:
        """Whether it can forward this protocol of this family."""
        return f"{protocol.value}{family.value}" in self.protocols


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface of the host.

    `tentative`: it can't be used yet, or never, as another host may have it (RFC 4862 5.4).
    `temporary`: it is for connections that this host opens, and soon gone (RFC 8981).
    """

    ip: IPAddress
    tentative: bool = False
    temporary: bool = False

    @property
    def publishable(self) -> bool:
        """Whether clients may be sent there, so that whoever follows the interface publishes on it.

        A deprecated one is: it stays valid for new connections until it goes (RFC 4862 5.5.4).
        A link-local one is not: what it means depends on who asks.
        """
        return not (self.tentative or self.temporary or self.ip.is_link_local)


@dataclass(frozen=True, slots=True)
class Host:
    """The host as a request finds it.

    `listens_on_ipv6`: a socket can be bound on ``[::1]``. `dynamic_ports`:
    ``net.ipv4.ip_local_port_range``. `reserved_ports`: ``net.ipv4.ip_local_reserved_ports``, never
    given as a dynamic port or one of a range. `protocols`: those the kernel has sockets for.
    """

    listens_on_ipv6: bool = True
    dynamic_ports: PortRange = DEFAULT_DYNAMIC_PORTS
    reserved_ports: Set[int] = field(default_factory=frozenset)
    protocols: Set[Protocol] = frozenset(Protocol)

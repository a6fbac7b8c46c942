"""Ports: protocols, ranges, what was asked for (`PortSpec`) and what came of it (`PortBinding`)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from hostports.brackets import bracketed
from hostports.errors import UnusableValue
from hostports.model.address import IPAddress, IPNetwork, unmapped

MAX_PORT: Final = 65535


class Protocol(Enum):
    """A transport protocol whose ports can be published."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"

    @property
    def number(self) -> int:
        """The IP protocol number (IANA), by which bindings are sorted."""
        return _NUMBERS[self]

    @property
    def listens(self) -> bool:
        """Whether its sockets accept connections, so that listen(2) follows bind(2)."""
        return self is not Protocol.UDP


_NUMBERS: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Host ports `first`..`last`, both included (the ``8000-8010`` of ``-p``).

    Raises `UnusableValue` unless 1 <= first <= last <= 65535.
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= MAX_PORT or not 1 <= self.last <= MAX_PORT:
            raise UnusableValue(str(self), "a port is outside 1-65535", "give ports within 1-65535")
        if self.last < self.first:
            raise UnusableValue(
                str(self), "the range runs backwards", f"write {self.last}-{self.first}"
            )

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @classmethod
    def single(cls, port: int) -> "PortRange":
        """The range of one port: an exact host port."""
        return cls(port, port)


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One container port to publish: what stands behind ``-p``, a range of them being many specs.

    `host_ports` None asks for a dynamic port, one port for exactly this one, more for a free one
    of the pool. `host_ip` None means the default host address, or, with an `interface`, whatever
    addresses that has. `container_ip` is set only when the results of an earlier publish are asked
    for again: specs that differ in it share no host port.
    """

    container_port: int
    protocol: Protocol = Protocol.TCP
    host_ports: PortRange | None = None
    host_ip: IPAddress | None = None
    container_ip: IPAddress | None = None
    interface: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.container_port <= MAX_PORT:
            raise UnusableValue(
                str(self.container_port), "a container port is outside 0-65535", "give another port"
            )
        for name in ("host_ip", "container_ip"):
            ip = getattr(self, name)
            if ip is not None:
                object.__setattr__(self, name, unmapped(ip))

    @property
    def exact(self) -> bool:
        """Whether exactly one host port will do."""
        return self.host_ports is not None and len(self.host_ports) == 1

    @property
    def follows(self) -> bool:
        """Whether whatever addresses an interface has are meant."""
        return bool(self.interface) and self.host_ip is None

    def __str__(self) -> str:
        """The spec as ``-p`` takes it; the protocol is always written."""
        where = self.interface if self.host_ip is None else bracketed(self.host_ip)
        host = f"{where}:" if where else ""
        ports = "" if self.host_ports is None else str(self.host_ports)
        colon = ":" if host or ports else ""
        return f"{host}{ports}{colon}{self.container_port}/{self.protocol.value}"


class PublishMode(Enum):
    """Which way clients take: NAT (and the relay for what NAT can't reach), or the relay only."""

    NAT = "nat"
    RELAY = "relay"


class ProxyProtocol(Enum):
    """Which header tells a container who its client is, before the first byte of a connection."""

    V2 = "v2"


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where a socket is bound and what the firewall matches: protocol, address and port."""

    protocol: Protocol
    ip: IPAddress
    port: int

    def __hash__(self) -> int:
        """The port tells most of them apart, and hashing an address takes long."""
        return self.port

    def __str__(self) -> str:
        return f"{bracketed(self.ip)}:{self.port}/{self.protocol.value}"


@dataclass(frozen=True, slots=True)
class HeldSocket:
    """A socket that holds a host port; `v6only` is None for IPv4."""

    address: SocketAddress
    listening: bool
    reuseaddr: bool
    v6only: bool | None
    pktinfo: bool


@dataclass(frozen=True, slots=True)
class PortBinding:
    """One published port of one endpoint: a host address and port that lead to a container port.

    `host_port` is 0 where the family is routed: the container's port is opened, no host port taken.
    `child` is where the socket really is when RootlessKit forwards to another address or port
    inside its namespace. Only sources in `allow_from` get through, whatever the way they take;
    empty means all. With `proxy_protocol` the relay tells the container its client's address.
    `interface` is the one that it follows: it goes when this no longer has the host address. That
    is nothing to whoever opens or serves it, so it makes no other binding of it.
    """

    network: str
    endpoint: str
    protocol: Protocol
    host_ip: IPAddress
    host_port: int
    container_ip: IPAddress
    container_port: int
    child: SocketAddress | None = None
    mode: PublishMode = PublishMode.NAT
    allow_from: tuple[IPNetwork, ...] = ()
    proxy_protocol: ProxyProtocol | None = None
    interface: str = field(default="", compare=False)

    def __hash__(self) -> int:
        """The ports tell most of them apart, and hashing addresses takes long."""
        return hash((self.endpoint, self.host_port, self.container_port))

    @property
    def routed(self) -> bool:
        """Whether no host port belongs to it, the container being reached by routing."""
        return self.host_port == 0

    @property
    def host_socket(self) -> SocketAddress:
        """What clients connect to."""
        return SocketAddress(self.protocol, self.host_ip, self.host_port)

    @property
    def socket(self) -> SocketAddress:
        """Where its socket is bound, as our own namespace and firewall see it."""
        return self.child or self.host_socket

    def __str__(self) -> str:
        """As moby prints it: ``0.0.0.0:8080:172.19.0.2:80/tcp``; no port if routed."""
        port = "" if self.routed else str(self.host_port)
        container = f"{bracketed(self.container_ip)}:{self.container_port}/{self.protocol.value}"
        return f"{bracketed(self.host_ip)}:{port}:{container}"

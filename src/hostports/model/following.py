"""A host port that is published on whatever addresses an interface has."""

from dataclasses import dataclass

from hostports.model.address import IPNetwork
from hostports.model.port import PortRange, PortSpec, Protocol, ProxyProtocol, PublishMode


@dataclass(frozen=True, slots=True)
class Following:
    """What outlives an interface's addresses of a spec that names it, as ``eth0:8080:80``.

    While it is there, each address of the interface has a binding with this host port; all else is
    as in `PortBinding`. Wherever it was dynamic or one of a range, the port is the one found first.
    """

    endpoint: str
    interface: str
    protocol: Protocol
    host_port: int
    container_port: int
    mode: PublishMode = PublishMode.NAT
    allow_from: tuple[IPNetwork, ...] = ()
    proxy_protocol: ProxyProtocol | None = None

    @property
    def spec(self) -> PortSpec:
        """What asks for it: by this it is unpublished."""
        ports = PortRange.single(self.host_port)
        return PortSpec(self.container_port, self.protocol, ports, interface=self.interface)

    def __str__(self) -> str:
        return str(self.spec)

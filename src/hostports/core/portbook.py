"""Which host ports, and which ports inside RootlessKit's namespace, a group of bindings gets."""

from collections.abc import Iterable, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial

from hostports.core.allocator import PortAllocator
from hostports.core.expand import Member, PortGroup
from hostports.errors import NoPortFree, PortPublished
from hostports.model.address import IPAddress
from hostports.model.following import Following
from hostports.model.host import Host
from hostports.model.network import Endpoint
from hostports.model.port import PortBinding, PortRange, SocketAddress


class PortBook:
    """All ports that are taken: on the host's addresses, and on RootlessKit's child addresses.

    RootlessKit forwards many host addresses to one child address, so a host port may need another
    number there. Without RootlessKit the second allocator stays empty.
    """

    def __init__(self) -> None:
        self.host = PortAllocator()
        self.child = PortAllocator()

    def copy(self) -> "PortBook":
        """A book of its own that says the same."""
        twin = PortBook()
        twin.host, twin.child = self.host.copy(), self.child.copy()
        return twin

    def enter(
        self, group: PortGroup, endpoint: Endpoint, host: Host, tried: Set[int] = frozenset()
    ) -> tuple[PortBinding, ...]:
        """Take the next port for a group and return its bindings; routed members take none.

        Ports in `tried` are passed over. Raises `PortPublished` or `NoPortFree`; then no port is
        taken.
        """
        port = self._host_port(group, endpoint, host, tried)
        bindings = [binding_of(group, endpoint, member, port) for member in group.members]
        try:
            for index, member in enumerate(group.members):
                if member.child_ip is not None:
                    child = self._child(bindings[index], member.child_ip, host)
                    bindings[index] = replace(bindings[index], child=child)
        except NoPortFree:
            self.strike_out(bindings)
            raise
        return tuple(bindings)

    def claim(self, binding: PortBinding) -> None:
        """Take exactly the ports that a binding has. Raises `PortPublished` and takes none."""
        if binding.routed:
            return
        exact = PortRange.single(binding.host_port)
        self.host.allocate(binding.protocol, [binding.host_ip], exact, binding.endpoint)
        if binding.child is not None:
            exact = PortRange.single(binding.child.port)
            try:
                self.child.allocate(binding.protocol, [binding.child.ip], exact, binding.endpoint)
            except PortPublished:
                self.host.release(binding.protocol, binding.host_ip, binding.host_port)
                raise

    def strike_out(self, bindings: Iterable[PortBinding]) -> None:
        """Give back the ports of bindings; a port that isn't taken stays as it is."""
        for binding in bindings:
            if not binding.routed:
                self.host.release(binding.protocol, binding.host_ip, binding.host_port)
            if binding.child is not None:
                self.child.release(binding.protocol, binding.child.ip, binding.child.port)

    def _host_port(self, group: PortGroup, endpoint: Endpoint, host: Host, tried: Set[int]) -> int:
        ips = [member.host_ip for member in group.members if not member.routed]
        if not ips:
            return 0
        ports = group.ports or host.dynamic_ports
        take = partial(self.host.allocate, group.protocol, ips, owner=endpoint.name)
        if group.exact:
            return take(ports=ports)
        excluded = (tried, host.reserved_ports)
        former = group.former
        if former is not None and former in ports and not any(former in some for some in excluded):
            with suppress(PortPublished):
                return take(ports=PortRange.single(former))
        return take(ports=ports, excluded=excluded)

    def _child(self, binding: PortBinding, ip: IPAddress, host: Host) -> SocketAddress:
        """A port on the child address: the host port's number where it is free, else any."""
        take = partial(self.child.allocate, binding.protocol, [ip], owner=binding.endpoint)
        try:
            port = take(ports=PortRange.single(binding.host_port))
        except PortPublished:
            port = take(ports=host.dynamic_ports, excluded=(host.reserved_ports,))
        return SocketAddress(binding.protocol, ip, port)


def binding_of(
    asked: PortGroup | Following, endpoint: Endpoint, member: Member, port: int
) -> PortBinding:
    """The binding of one member, with its host port."""
    return PortBinding(
        network=endpoint.network.name,
        endpoint=endpoint.name,
        protocol=asked.protocol,
        host_ip=member.host_ip,
        host_port=0 if member.routed else port,
        container_ip=member.container_ip,
        container_port=asked.container_port,
        mode=asked.mode,
        allow_from=asked.allow_from,
        proxy_protocol=asked.proxy_protocol,
        interface=member.interface,
    )

"""From requests on the wire to those of the engine, and from values to answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from hostports.api import schema, words
from hostports.core.networks import EndpointRequest, NetworkRequest, hardware_address
from hostports.core.showing import shown
from hostports.core.spec import parse_spec
from hostports.engine.registry import PortsRequest, Published
from hostports.errors import UnusableValue
from hostports.model.address import Family, IPAddress, spelled
from hostports.model.event import Event, Finding
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import MAX_PORT, PortBinding, PortSpec
from hostports.model.published import Plan, PublishedPort, Ways

#: What belongs to an endpoint.
Item = TypeVar("Item", PortBinding, Following)
#: Ports of one request: more than a host has. A few ranges are soon millions, and memory is finite.
_MOST_PORTS: Final = 4 * MAX_PORT


def network_request(asked: schema.CreateNetwork) -> NetworkRequest:
    """The network that is asked for. Raises `UnusableValue`."""
    if asked.bridge.endswith(("+", "*")):
        raise UnusableValue(asked.bridge, "a bridge is one interface, no pattern", "write its name")
    if "" in asked.trusted_host_interfaces:
        raise UnusableValue("", "it is no name of an interface", "write one as `ip link` shows it")
    return NetworkRequest(
        name=asked.name,
        bridge=asked.bridge,
        subnets=tuple(words.subnet(text) for text in asked.subnets),
        gateway_mode_ipv4=asked.gateway_mode_ipv4,
        gateway_mode_ipv6=asked.gateway_mode_ipv6,
        host_ipv4=words.ipv4(asked.host_ipv4),
        host_ipv6=words.ipv6(asked.host_ipv6),
        internal=asked.internal,
        icc=asked.icc,
        masquerade=asked.masquerade,
        trusted_host_interfaces=asked.trusted_host_interfaces,
        existing_bridge=asked.existing_bridge,
        ports_only=asked.ports_only,
    )


def network(value: BridgeNetwork) -> schema.Network:
    """A network as it is shown."""
    return schema.Network(
        name=value.name,
        bridge=value.bridge,
        subnets=tuple(str(subnet) for of in Family if (subnet := value.subnet(of))),
        gateway_mode_ipv4=value.gateway_mode_ipv4,
        gateway_mode_ipv6=value.gateway_mode_ipv6,
        host_ipv4=_optional(value.host_ipv4),
        host_ipv6=_optional(value.host_ipv6),
        internal=value.internal,
        icc=value.icc,
        masquerade=value.masquerade,
        trusted_host_interfaces=value.trusted_host_interfaces,
        existing_bridge=value.existing,
        ports_only=value.ports_only,
    )


def networks(values: Iterable[BridgeNetwork]) -> schema.Networks:
    """Networks as they are shown."""
    return schema.Networks(networks=tuple(map(network, values)))


def endpoint_request(on: str, asked: schema.AddEndpoint) -> EndpointRequest:
    """The endpoint that is asked for on a network. Raises `UnusableValue`."""
    given = [key for key in ("netns", "pid", "addresses") if getattr(asked, key)]
    if len(given) != 1:
        raise UnusableValue(
            asked.name,
            f"it has {' and '.join(given) or 'neither a namespace nor an address'}",
            "write one of netns, pid and addresses",
        )
    if asked.addresses:
        return _known_by_address(on, asked)
    return EndpointRequest(
        network=on,
        name=asked.name,
        namespace=_namespace(asked),
        ipv4=words.ipv4(asked.ipv4),
        ipv6=words.ipv6(asked.ipv6),
    )


def endpoint(
    value: Endpoint, followings: Iterable[Following] = (), lost: Iterable[PortBinding] = ()
) -> schema.Endpoint:
    """An endpoint as it is shown, with what is published for it on interfaces, and what is lost."""
    return schema.Endpoint(
        name=value.name,
        network=value.network.name,
        addresses=tuple(map(str, value.addresses)),
        kind="namespace" if value.namespace else "address",
        namespace=value.namespace,
        mac=hardware_address(value),
        follows=tuple(map(str, followings)),
        lost=tuple(map(str, lost)),
    )


def endpoints(
    values: Iterable[Endpoint], followings: Iterable[Following], lost: Iterable[PortBinding]
) -> schema.Endpoints:
    """Endpoints as they are shown, each with its own of all that follows, or is lost."""
    following, gone = _by_endpoint(followings), _by_endpoint(lost)
    return schema.Endpoints(
        endpoints=tuple(endpoint(each, following[each.name], gone[each.name]) for each in values)
    )


def _by_endpoint(items: Iterable[Item]) -> Mapping[str, list[Item]]:
    found = defaultdict[str, list[Item]](list)
    for each in items:
        found[each.endpoint].append(each)
    return found


def ports_request(of: str, asked: schema.PublishPorts) -> PortsRequest:
    """The ports that are asked for of an endpoint. Raises `UnusableValue`."""
    return PortsRequest(
        endpoint=of,
        specs=specs(asked.specs),
        mode=asked.mode,
        allow_from=tuple(words.source(text) for text in asked.allow_from),
        proxy_protocol=asked.proxy_protocol,
        wait_address_s=asked.wait_address,
    )


def unpublished(asked: schema.UnpublishPorts) -> list[PortSpec] | None:
    """Which ports to take back; None means all. Raises `UnusableValue`."""
    if bool(asked.specs) == asked.all:
        what = "all and some ports" if asked.all else "no ports"
        raise UnusableValue("specs", f"{what} are to be taken back", 'write specs, or "all": true')
    return None if asked.all else specs(asked.specs)


def specs(texts: Iterable[str]) -> list[PortSpec]:
    """What texts of ``-p`` ask for. Raises `UnusableValue`."""
    found: list[PortSpec] = []
    for text in texts:
        found += parse_spec(text)
        if len(found) > _MOST_PORTS:
            raise UnusableValue(
                text, "with it there are more ports than a host has", "ask for less"
            )
    return found


def binding(port: PublishedPort) -> schema.Binding:
    """A published port as it is shown."""
    value = port.binding
    return schema.Binding(
        endpoint=value.endpoint,
        network=value.network,
        proto=value.protocol,
        host_ip=spelled(value.host_ip),
        host_port=value.host_port,
        container_ip=spelled(value.container_ip),
        container_port=value.container_port,
        gateway_mode=port.gateway_mode,
        mode=value.mode,
        path=port.path,
        allow_from=tuple(map(spelled, value.allow_from)),
        proxy_protocol=value.proxy_protocol,
        child_host_ip=_optional(value.child.ip if value.child else None),
        interface=value.interface or None,
        packets=port.packets,
        bytes=port.bytes,
        connections=port.connections,
        created=_seconds(port.created),
    )


def bindings(ports: Iterable[PublishedPort]) -> schema.Bindings:
    """Published ports as they are shown."""
    return schema.Bindings(bindings=tuple(map(binding, ports)))


def published(value: Published) -> schema.Published:
    """What came of a request."""
    return schema.Published(bindings=tuple(map(binding, value.ports)), warnings=value.warnings)


def plan(value: Plan, on: BridgeNetwork, at: datetime, ways: Ways) -> schema.Plan:
    """What would come of a request."""
    ports = (shown(each, on, at, ways) for each in value.bindings)
    return schema.Plan(
        bindings=tuple(map(binding, ports)),
        warnings=value.warnings,
        sockets=tuple(map(str, value.sockets)),
        rules=value.rules,
    )


def event(value: Event, shown_bindings: Sequence[schema.Binding]) -> schema.Event:
    """What happened."""
    return schema.Event(
        event=value.what,
        time=_seconds(value.at),
        network=value.network,
        endpoint=value.endpoint,
        bindings=tuple(shown_bindings),
        message=value.message,
    )


def findings(values: Iterable[Finding]) -> schema.Findings:
    """What the doctor has found."""
    return schema.Findings(
        findings=tuple(
            schema.Finding(
                severity=each.severity,
                what=each.what,
                mend=each.mend,
                where=each.where,
                ports=each.ports,
            )
            for each in values
        )
    )


def _namespace(asked: schema.AddEndpoint) -> str:
    if not asked.netns:
        return f"/proc/{asked.pid}/ns/net"
    if "\0" in asked.netns:  # it would end the path for the kernel, and Python doesn't pass it on
        raise UnusableValue(asked.netns, "a path has no null character", "write another one")
    return asked.netns


def _optional(ip: IPAddress | None) -> str | None:
    return None if ip is None else spelled(ip)


@lru_cache(1024)
def _seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def _known_by_address(on: str, asked: schema.AddEndpoint) -> EndpointRequest:
    if asked.ipv4 or asked.ipv6:
        raise UnusableValue(
            asked.name, "ipv4 and ipv6 are for a namespace", "write them into addresses"
        )
    ips = [words.address(text) for text in asked.addresses or ()]
    of_ipv4 = [ip for ip in ips if isinstance(ip, IPv4Address)]
    of_ipv6 = [ip for ip in ips if isinstance(ip, IPv6Address)]
    for same in (of_ipv4, of_ipv6):
        if len(same) > 1:
            raise UnusableValue(
                str(same[1]), f"{same[0]} is of that family, too", "write one address a family"
            )
    return EndpointRequest(
        network=on,
        name=asked.name,
        ipv4=of_ipv4[0] if of_ipv4 else None,
        ipv6=of_ipv6[0] if of_ipv6 else None,
    )

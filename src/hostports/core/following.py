"""Followed interfaces have other addresses now: which bindings go, and which come."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hostports.core.expand import Circumstances, PublishRequest, members
from hostports.model.address import overlap
from hostports.model.following import Following
from hostports.model.network import Endpoint
from hostports.model.port import PortBinding, Protocol


@dataclass(frozen=True, slots=True)
class Moves:
    """The bindings that are to be unpublished and, after that, published."""

    gone: tuple[PortBinding, ...] = ()
    come: tuple[PortBinding, ...] = ()


def moves(
    followings: Iterable[Following],
    endpoints: Mapping[str, Endpoint],
    there: Iterable[PortBinding],
    around: Circumstances,
) -> Moves:
    """What to do, so that each following has a binding on each address, and no other.

    `there` is all that is published, or wanted and lost. An address needs none that is covered
    already, as it was asked for by itself, or by another interface that has it, too.
    """
    wanted = {each: _wanted(each, endpoints[each.endpoint], around) for each in followings}
    beside = defaultdict[tuple[str, Protocol, int], list[PortBinding]](list)
    for binding in there:
        beside[_key(binding)].append(binding)
    gone = {
        binding: None
        for each, bindings in wanted.items()
        for binding in beside[_key(each)]
        if _follows(binding, each) and binding not in bindings
    }
    come: list[PortBinding] = []
    for each, bindings in wanted.items():
        left = [binding for binding in beside[_key(each)] if binding not in gone]
        new = [one for one in bindings if not any(_covers(other, one) for other in left)]
        beside[_key(each)] += new
        come += new
    return Moves(tuple(gone), tuple(come))


def _wanted(
    following: Following, endpoint: Endpoint, around: Circumstances
) -> tuple[PortBinding, ...]:
    """One binding for each address that the interface has now."""
    request = PublishRequest(endpoint, [following.spec], mode=following.mode)
    return tuple(
        PortBinding(
            network=endpoint.network.name,
            endpoint=endpoint.name,
            protocol=following.protocol,
            host_ip=each.host_ip,
            host_port=0 if each.routed else following.host_port,
            container_ip=each.container_ip,
            container_port=following.container_port,
            mode=following.mode,
            allow_from=following.allow_from,
            proxy_protocol=following.proxy_protocol,
            interface=following.interface,
        )
        for each in members(request, around, following.spec)
    )


def _key(item: PortBinding | Following) -> tuple[str, Protocol, int]:
    return item.endpoint, item.protocol, item.container_port


def _follows(binding: PortBinding, following: Following) -> bool:
    ports = (0, following.host_port)
    return binding.interface == following.interface and binding.host_port in ports


def _covers(other: PortBinding, one: PortBinding) -> bool:
    return other.host_port == one.host_port and overlap(other.host_ip, one.host_ip)

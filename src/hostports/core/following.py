"""Followed interfaces have other addresses now: which bindings go, and which come."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hostports.core.expand import Circumstances, PublishRequest, members
from hostports.core.portbook import binding_of
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
    there: Collection[PortBinding],
    around: Circumstances,
) -> Moves:
    """What to do, so that each following has a binding on each address, and no other.

    `there` is all that is published, or wanted and lost; what is routed depends on no address, and
    stays. An address needs none that is covered
    already, as it was asked for by itself, or by another interface that has it, too.
    """
    wanted = {each: _wanted(each, endpoints[each.endpoint], around) for each in followings}
    right = {(each, each.interface) for bindings in wanted.values() for each in bindings}
    follows = (each for each in there if each.interface and not each.routed)
    gone = {each: None for each in follows if (each, each.interface) not in right}
    beside = defaultdict[tuple[str, Protocol, int], list[PortBinding]](list)
    for binding in there:
        if binding not in gone:
            beside[_key(binding)].append(binding)
    come: list[PortBinding] = []
    for each, bindings in wanted.items():
        near = beside[_key(each)]
        new = [one for one in bindings if not any(_covers(other, one) for other in near)]
        near += new
        come += new
    return Moves(tuple(gone), tuple(come))


def _wanted(
    following: Following, endpoint: Endpoint, around: Circumstances
) -> tuple[PortBinding, ...]:
    """One binding for each address that the interface has now."""
    request = PublishRequest(endpoint, [following.spec], mode=following.mode)
    return tuple(
        binding_of(following, endpoint, each, following.host_port)
        for each in members(request, around, following.spec)
    )


def _key(item: PortBinding | Following) -> tuple[str, Protocol, int]:
    return item.endpoint, item.protocol, item.container_port


def _covers(other: PortBinding, one: PortBinding) -> bool:
    return other.host_port == one.host_port and overlap(other.host_ip, one.host_ip)

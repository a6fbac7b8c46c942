"""What a port spec means of what is published, when ports are to be unpublished."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from hostports.errors import NotFound
from hostports.model.following import Following
from hostports.model.port import PortBinding, PortSpec, Protocol

#: What is unpublished.
Item: TypeAlias = PortBinding | Following


def selected(specs: Iterable[PortSpec], published: Sequence[Item]) -> list[Item]:
    """The bindings and followings that specs mean, each once, in the order in which they are given.

    What a spec leaves out, host address or host port, may be any. What follows an interface is not
    meant by an address, as it would soon be there again. Raises `NotFound` for a spec that means
    nothing; so nothing is unpublished by half.
    """
    by_container_port: defaultdict[tuple[int, Protocol], list[Item]] = defaultdict(list)
    for item in published:
        by_container_port[item.container_port, item.protocol].append(item)
    found: dict[Item, None] = {}
    for spec in specs:
        candidates = by_container_port[spec.container_port, spec.protocol]
        meant = [each for each in candidates if _means(spec, each)]
        if not meant:
            raise NotFound(f"{spec} is not published there", _mend(spec, candidates))
        found |= dict.fromkeys(meant)
    return [each for each in published if each in found]


def _means(spec: PortSpec, item: Item) -> bool:
    # A routed binding has no host port, whatever was asked for.
    ports = spec.host_ports if item.host_port else None
    return (ports is None or item.host_port in ports) and _means_address(spec, item)


def _means_address(spec: PortSpec, item: Item) -> bool:
    if spec.interface or spec.host_ip is None:
        return spec.interface in ("", item.interface)
    return isinstance(item, PortBinding) and not item.interface and spec.host_ip == item.host_ip


def _mend(spec: PortSpec, candidates: Sequence[Item]) -> str:
    followed = [each for each in candidates if isinstance(each, Following)]
    if spec.host_ip is None or not followed:
        return "see `hostports ls`"
    return f"what follows an interface is unpublished by it: {followed[0]}"

"""Which published bindings a port spec means, when ports are to be unpublished."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hostports.errors import NotFound
from hostports.model.port import PortBinding, PortSpec, Protocol


def selected(specs: Iterable[PortSpec], published: Sequence[PortBinding]) -> list[PortBinding]:
    """The bindings that specs mean, each once, in the order of publication.

    What a spec leaves out, host address or host port, may be any. Raises `NotFound` for a spec that
    means none; so nothing is unpublished by half.
    """
    by_container_port: defaultdict[tuple[int, Protocol], list[PortBinding]] = defaultdict(list)
    for binding in published:
        by_container_port[binding.container_port, binding.protocol].append(binding)
    found: dict[PortBinding, None] = {}
    for spec in specs:
        candidates = by_container_port[spec.container_port, spec.protocol]
        meant = [each for each in candidates if _means(spec, each)]
        if not meant:
            raise NotFound(f"{spec} is not published there", "see `hostports ls`")
        found |= dict.fromkeys(meant)
    return [each for each in published if each in found]


def _means(spec: PortSpec, binding: PortBinding) -> bool:
    # A routed binding has no host port, whatever was asked for.
    ports = None if binding.routed else spec.host_ports
    return (ports is None or binding.host_port in ports) and spec.host_ip in (None, binding.host_ip)

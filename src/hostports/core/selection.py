"""Which published bindings a port spec means, when ports are to be unpublished."""

from collections.abc import Iterable, Sequence

from hostports.errors import NotFound
from hostports.model.port import PortBinding, PortSpec


def selected(specs: Iterable[PortSpec], published: Sequence[PortBinding]) -> list[PortBinding]:
    """The bindings that specs mean, each once, in the order of publication.

    What a spec leaves out, host address or host port, may be any. Raises `NotFound` for a spec that
    means none; so nothing is unpublished by half.
    """
    found: dict[PortBinding, None] = {}
    for spec in specs:
        meant = [each for each in published if _means(spec, each)]
        if not meant:
            raise NotFound(f"{spec} is not published there", "see `hostports ls`")
        found |= dict.fromkeys(meant)
    return [each for each in published if each in found]


def _means(spec: PortSpec, binding: PortBinding) -> bool:
    return (
        (spec.container_port, spec.protocol) == (binding.container_port, binding.protocol)
        and spec.host_ip in (None, binding.host_ip)
        # A routed binding has no host port, whatever was asked for.
        and (spec.host_ports is None or binding.routed or binding.host_port in spec.host_ports)
    )

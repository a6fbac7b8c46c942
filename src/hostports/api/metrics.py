"""Figures for Prometheus, in its text format; only what can be read of the service as it is."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hostports.api.service import Service
from hostports.model.published import PublishedPort

_BINDING: Final = ("endpoint", "proto", "host_ip", "host_port", "container_port")


async def exposed(service: Service, version: str) -> bytes:
    """All figures as they are now."""
    snapshot = _Snapshot(
        version,
        networks=len(await service.networks()),
        endpoints=len(await service.endpoints()),
        ports=await service.ports(),
    )
    # Spelling thousands of bindings takes a while, and others want to be served meanwhile.
    return await asyncio.to_thread(_spelt, snapshot)


def _spelt(snapshot: "_Snapshot") -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot(Collector):
    """Figures that were read already, so that collecting them waits for nothing."""

    version: str
    networks: int
    endpoints: int
    ports: Sequence[PublishedPort]

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        build = GaugeMetricFamily(
            "hostports_build_info", "Always 1; the label says more.", labels=["version"]
        )
        build.add_metric([self.version], 1)
        yield build
        yield GaugeMetricFamily("hostports_networks", "Networks.", value=self.networks)
        yield GaugeMetricFamily("hostports_endpoints", "Endpoints.", value=self.endpoints)
        yield self._published()
        yield from self._passed()

    def _published(self) -> Metric:
        counts = Counter((each.binding.endpoint, each.binding.protocol) for each in self.ports)
        family = GaugeMetricFamily(
            "hostports_published_ports", "Published ports.", labels=["endpoint", "proto"]
        )
        for (endpoint, protocol), count in counts.items():
            family.add_metric([endpoint, protocol.value], count)
        return family

    def _passed(self) -> Iterator[Metric]:
        labels = [_labels(each) for each in self.ports]
        for name, help_text, values in (
            ("bytes", "Bytes that have passed, both ways.", (each.bytes for each in self.ports)),
            ("packets", "Packets that have passed by DNAT.", (each.packets for each in self.ports)),
            (
                "connections",
                "Connections and UDP sessions, ever.",
                (each.connections for each in self.ports),
            ),
        ):
            family = CounterMetricFamily(f"hostports_binding_{name}", help_text, labels=_BINDING)
            for values_of, total in _summed(zip(labels, values, strict=True)).items():
                family.add_metric(values_of, total)
            yield family


def _summed(figures: Iterable[tuple[tuple[str, ...], int]]) -> Mapping[tuple[str, ...], int]:
    """One sample for each set of labels: routed bindings may differ in their allowlist only."""
    total: Counter[tuple[str, ...]] = Counter()
    for labels, figure in figures:
        total[labels] += figure
    return total


def _labels(port: PublishedPort) -> tuple[str, ...]:
    binding = port.binding
    return (
        binding.endpoint,
        binding.protocol.value,
        str(binding.host_ip),
        str(binding.host_port),
        str(binding.container_port),
    )

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hostports.api.metrics import exposed
from hostports.model.firewall import Traffic
from tests.api.fake_service import FakeService
from tests.api.serving import Api

Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples(api: Api) -> Samples:
    """What Prometheus would read, by name."""
    answer = api.call("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for each in family.samples:
            found.setdefault(each.name, []).append((each.labels, each.value))
    return found


def test_an_empty_host_has_figures(api: Api) -> None:
    assert samples(api) == {
        "hostports_build_info": [({"version": "1.2.3"}, 1)],
        "hostports_networks": [({}, 0)],
        "hostports_endpoints": [({}, 0)],
    }


def test_ports_are_counted_by_endpoint_and_protocol(web: Api) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80", "53:53/udp", "54:54/udp"]})
    found = samples(web)
    assert found["hostports_networks"] == found["hostports_endpoints"] == [({}, 1)]
    assert found["hostports_published_ports"] == [
        ({"endpoint": "web", "proto": "udp"}, 4),
        ({"endpoint": "web", "proto": "tcp"}, 2),
    ]


def test_what_has_passed_is_told_for_each_binding(
    web: Api, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["127.0.0.1:8080:80"]})
    (binding,) = service.registry.engine.published()
    passed = {binding.socket: Traffic(connections=2, packets=7, bytes=1234567890123)}
    monkeypatch.setattr(service.firewall, "traffic", lambda: passed)
    labels = {
        "endpoint": "web",
        "proto": "tcp",
        "host_ip": "127.0.0.1",
        "host_port": "8080",
        "container_port": "80",
    }
    found = samples(web)
    assert found["hostports_binding_bytes_total"] == [(labels, 1234567890123)]
    assert found["hostports_binding_packets_total"] == [(labels, 7)]
    assert found["hostports_binding_connections_total"] == [(labels, 2)]


def test_every_sample_is_there_once(web: Api) -> None:
    """Prometheus refuses all figures of a host that tells one of them twice."""
    web.made(
        "/v1/networks", {"name": "r", "subnets": ["10.9.0.0/24"], "gateway_mode_ipv4": "routed"}
    )
    web.made("/v1/networks/r/endpoints", {"name": "e", "pid": 1})
    for source in ("192.0.2.1", "192.0.2.2"):
        wanted = {"specs": ["0.0.0.0::80"], "allow_from": [source]}
        web.made("/v1/endpoints/e/ports", wanted)
    assert len(web.call("GET", "/v1/ports").document["bindings"]) == 2
    for name, found in samples(web).items():
        labels = [tuple(sorted(each.items())) for each, _ in found]
        assert len(labels) == len({*labels}), name


def test_labels_are_escaped() -> None:
    version = '1.0"\\\n2'
    text = asyncio.run(exposed(FakeService(), version)).decode()
    (family, *_) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"version": version}

"""What the service asks for the doctor, and makes of a trace."""

import asyncio
from ipaddress import ip_address

from hostports.daemon.service import RegistryService
from hostports.model.condition import Condition
from hostports.model.event import Severity
from hostports.model.port import Protocol, SocketAddress
from hostports.testing import FakeInspection, FakeTracing
from tests.engine.test_registry import Site, with_a_lost_port

TO = SocketAddress(Protocol.TCP, ip_address("192.0.2.1"), 8080)


def service(inspection: FakeInspection, tracing: FakeTracing, site: Site) -> RegistryService:
    return RegistryService(site.registry, inspection, tracing)


def test_a_lost_port_is_told_with_what_else_is_wrong() -> None:
    """Here our table is not there, either."""

    async def scene() -> list[str]:
        asked = service(FakeInspection(Condition()), FakeTracing(), with_a_lost_port())
        found = await asked.doctor()
        asked.close()
        return [each.what for each in found if each.severity is Severity.PROBLEM]

    problems = asyncio.run(scene())
    assert any("our table inet hostports is gone" in each for each in problems)
    assert any("is lost: " in each for each in problems)


def test_a_trace_begins_and_ends_with_a_sentence() -> None:
    async def scene(tracing: FakeTracing) -> list[str]:
        asked = service(FakeInspection(), tracing, with_a_lost_port())
        told = [each async for each in asked.trace(TO, 5.0, probe=True)]
        asked.close()
        return told

    tracing = FakeTracing()
    first, last = asyncio.run(scene(tracing))
    assert first == "Waiting up to 5 s for a packet to 192.0.2.1:8080/tcp."
    assert last.startswith("No packet was seen")
    assert tracing.followed == [(TO, 5.0, True)]

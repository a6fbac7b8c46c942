"""Fakes for every edge of the engine, the same that our own tests use."""

from hostports.testing.clock import FakeClock
from hostports.testing.edges import FakeFirewall, FakeHostFacts, FakePortDriver, FakeRelay
from hostports.testing.faults import EVERY, Faults
from hostports.testing.kernel import FakeKernel, FakeSocket
from hostports.testing.links import FakeLinks
from hostports.testing.sockets import FakeHostSockets
from hostports.testing.store import FakeStore

__all__ = [
    "EVERY",
    "FakeClock",
    "FakeFirewall",
    "FakeHostFacts",
    "FakeHostSockets",
    "FakeKernel",
    "FakeLinks",
    "FakePortDriver",
    "FakeRelay",
    "FakeSocket",
    "FakeStore",
    "Faults",
]

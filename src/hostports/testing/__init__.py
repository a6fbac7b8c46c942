"""Fakes for every edge of the engine, the same that our own tests use."""

from hostports.testing.clock import FakeClock
from hostports.testing.conntrack import FakeConntrack
from hostports.testing.edges import FakeFirewall, FakeHostFacts, FakePortDriver, FakeRelay
from hostports.testing.faults import EVERY, Faults
from hostports.testing.kernel import FakeKernel, FakeSocket
from hostports.testing.links import FakeLinks
from hostports.testing.looking import FakeInspection, FakeTracing
from hostports.testing.sockets import FakeHostSockets
from hostports.testing.store import FakeStore
from hostports.testing.watch import FakeWatch

__all__ = [
    "EVERY",
    "FakeClock",
    "FakeConntrack",
    "FakeFirewall",
    "FakeHostFacts",
    "FakeHostSockets",
    "FakeInspection",
    "FakeKernel",
    "FakeLinks",
    "FakePortDriver",
    "FakeRelay",
    "FakeSocket",
    "FakeStore",
    "FakeTracing",
    "FakeWatch",
    "Faults",
]

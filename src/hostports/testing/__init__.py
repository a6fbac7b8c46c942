"""Fakes for every edge of the engine, the same that our own tests use."""

from hostports.testing.edges import FakeFirewall, FakeHostFacts, FakePortDriver, FakeRelay
from hostports.testing.faults import EVERY, Faults
from hostports.testing.kernel import FakeKernel, FakeSocket
from hostports.testing.sockets import FakeHostSockets

__all__ = [
    "EVERY",
    "FakeFirewall",
    "FakeHostFacts",
    "FakeHostSockets",
    "FakeKernel",
    "FakePortDriver",
    "FakeRelay",
    "FakeSocket",
    "Faults",
]

"""Bindings by the thousand, on copies of one socket: what matters is how many they are."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

from hostports.interfaces import RelayedBinding
from hostports.model.port import PortBinding, Protocol
from tests.relay.lab import CONTAINER_IPV4, HOST_IPV4, Lab
from tests.relay.peers import listening
from tests.relay.relays import RunningRelay

#: Descriptors that a relay needs for other things.
_OTHERS = 300
_FIRST = PortBinding(
    "lab", "bulk", Protocol.TCP, ip_address(HOST_IPV4), 9999, ip_address(CONTAINER_IPV4), 1
)


def allowed(wanted: int) -> int:
    """So many bindings, or as many as the host's limit of open files allows."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, limit - _OTHERS)


@contextmanager
def prepared(lab: Lab, wanted: int) -> Iterator[Sequence[RelayedBinding]]:
    """Bindings that can be added."""
    with listening(lab.host, HOST_IPV4, 9999) as shared:
        yield [
            RelayedBinding(replace(_FIRST, container_port=port + 1), shared.fileno())
            for port in range(allowed(wanted))
        ]


@contextmanager
def many(relay: RunningRelay, wanted: int) -> Iterator[Sequence[RelayedBinding]]:
    """Bindings that can be added, and are removed in the end."""
    with prepared(relay.lab, wanted) as bindings:
        try:
            yield bindings
        finally:
            relay.control.remove([each.binding for each in bindings])

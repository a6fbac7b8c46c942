"""Which sources may use a binding through the relay: the same list as the firewall's."""

from collections.abc import Sequence
from ipaddress import ip_address

from hostports.model.address import IPNetwork, unmapped


def allows(allow_from: Sequence[IPNetwork], source: str) -> bool:
    """Whether a source, as getpeername(2) tells it, is in the list; an empty list allows all."""
    if not allow_from:
        return True
    ip = unmapped(ip_address(source.partition("%")[0]))
    return any(ip in network for network in allow_from)

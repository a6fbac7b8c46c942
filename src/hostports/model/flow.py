"""A flow as connection tracking remembers it."""

from dataclasses import dataclass

from hostports.model.address import IPAddress


@dataclass(frozen=True, slots=True)
class Flow:
    """Who began it and to where, and the addresses of the answers, which NAT makes others.

    `protocol` is a number, `port` the destination's, 0 where there is none, as is `source_port`;
    `answering_port` is where answers come from.
    `from_host` and `to_host` are whether that end is an address of the host's own.
    """

    protocol: int
    source: IPAddress
    destination: IPAddress
    port: int
    answered_by: IPAddress
    answered_to: IPAddress
    from_host: bool = False
    to_host: bool = False
    source_port: int = 0
    answering_port: int = 0

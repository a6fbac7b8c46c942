"""Entries of connection tracking, made by netlink in the namespace that the thread is in."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple

from hostports.linux.tracked import GENERIC, NESTED, Tracked, attribute, message
from hostports.model.address import IPAddress, family

_NEW: Final = 0x0100
#: NLM_F_CREATE and NLM_F_EXCL
_CREATE, _ACK = 0x600, 0x4
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_AT_ONCE: Final = 50
_TIMEOUT_S: Final = 600


class Flowing(NamedTuple):
    """A flow to an address and port, which somebody else may answer."""

    source: str
    source_port: int
    destination: str
    port: int
    answered_by: str = ""
    answering_port: int = 0
    protocol: int = socket.IPPROTO_UDP


def remember(flows: Iterable[Flowing]) -> None:
    """Let the kernel track flows, as if their first packets had come."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as kernel:
        waiting = list(map(_message, flows))
        for start in range(0, len(waiting), _AT_ONCE):
            some = waiting[start : start + _AT_ONCE]
            kernel.send(b"".join(some))
            for _ in some:
                answer = kernel.recv(1 << 16)
                (code,) = struct.unpack_from("=i", answer, 16)
                assert code == 0, code


def tracked() -> list[tuple[str, int]]:
    """Destinations and ports of all flows that the kernel tracks."""
    with Tracked() as entries:
        return sorted(
            (str(ip_address(each.asks.destination)), int.from_bytes(each.asks.port, "big"))
            for of in (family(ip_address("127.0.0.1")), family(ip_address("::1")))
            for each in entries.entries(of)
        )


def _message(flow: Flowing) -> bytes:
    source, to = ip_address(flow.source), ip_address(flow.destination)
    answering = ip_address(flow.answered_by or flow.destination)
    asks = _tuple(source, to, flow.protocol, flow.source_port, flow.port)
    ports = flow.answering_port or flow.port, flow.source_port
    answers = _tuple(answering, source, flow.protocol, *ports)
    body = GENERIC.pack(_FAMILIES[to.version], 0, 0)
    body += attribute(1 | NESTED, asks) + attribute(2 | NESTED, answers)
    body += attribute(7, struct.pack("!I", _TIMEOUT_S))
    return message(_NEW, _CREATE | _ACK, body)


def _tuple(source: IPAddress, to: IPAddress, protocol: int, *ports: int) -> bytes:
    first = 1 if to.version == 4 else 3
    ips = attribute(first, source.packed) + attribute(first + 1, to.packed)
    inside = attribute(1, bytes([protocol]))
    inside += b"".join(
        attribute(2 + number, struct.pack("!H", port)) for number, port in enumerate(ports)
    )
    return attribute(1 | NESTED, ips) + attribute(2 | NESTED, inside)

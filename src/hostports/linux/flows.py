"""All flows that connection tracking remembers, read and deleted by netlink (nf_conntrack).

pyroute2 takes a third of a millisecond for each; a busy host has a hundred thousand. The format is
linux/netfilter/nfnetlink_conntrack.h.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Set
from ipaddress import ip_address
from typing import Final

from hostports.linux.multicast import attributes, messages
from hostports.model.address import IPAddress
from hostports.model.flow import Flow

_NETLINK_NETFILTER: Final = 12
_HEADER: Final = struct.Struct("=IHHIIBBH")
_ATTRIBUTE: Final = struct.Struct("=HH")
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_REQUEST, _ACKNOWLEDGE, _DUMP, _NESTED = 1, 4, 0x300, 0x8000
_ERROR, _DONE = 2, 3
_GENERIC_BYTES: Final = 4
#: CTA_*
_ORIGINAL, _REPLY, _STATUS, _ZONE = 1, 2, 3, 18
_IP, _PROTOCOL = 1, 2
_ADDRESSES: Final[Mapping[int, tuple[int, int]]] = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}
#: IPS_SRC_NAT and IPS_DST_NAT
_TRANSLATED: Final = 1 << 4 | 1 << 5


def forget_if(family: int, local: Set[IPAddress], unwanted: Callable[[Flow], bool]) -> int:
    """Delete flows that no NAT has changed and that are unwanted; how many there were.

    `local` are the host's own addresses. Raises `OSError` as the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        doomed = [
            found
            for found in _untranslated(kernel, family)
            if unwanted(_flow(family, found, local))
        ]
        return sum(_deleted(kernel, family, each) for each in doomed)


def _untranslated(kernel: socket.socket, family: int) -> Iterator[dict[int, bytes]]:
    """The attributes of each."""
    kernel.send(_request(_GET, _REQUEST | _DUMP, family))
    while True:
        for message in messages(kernel.recv(1 << 18)):
            if message.kind == _DONE:
                return
            if message.kind == _ERROR:
                _raise(message.body)
            found = attributes(message.body[_GENERIC_BYTES:])
            if not _number(found.get(_STATUS, b"\0")) & _TRANSLATED:
                yield found


def _flow(family: int, found: dict[int, bytes], local: Set[IPAddress]) -> Flow:
    asks, answers = attributes(found[_ORIGINAL]), attributes(found[_REPLY])
    source, destination = _ends(family, asks)
    answered_by, answered_to = _ends(family, answers)
    protocol = attributes(asks[_PROTOCOL])
    return Flow(
        *(protocol[1][0], source, destination, _number(protocol.get(3, b"\0"))),
        *(answered_by, answered_to),
        from_host=source in local or source.is_loopback,
        to_host=destination in local or destination.is_loopback,
        source_port=_number(protocol.get(2, b"\0")),
    )


def _ends(family: int, side: dict[int, bytes]) -> tuple[IPAddress, IPAddress]:
    found = attributes(side[_IP])
    source, destination = (ip_address(found[each]) for each in _ADDRESSES[family])
    return source, destination


def _deleted(kernel: socket.socket, family: int, found: dict[int, bytes]) -> bool:
    """Whether it was still there."""
    body = _attribute(_ORIGINAL | _NESTED, found[_ORIGINAL])
    if _ZONE in found:
        body += _attribute(_ZONE, found[_ZONE])
    kernel.send(_request(_DELETE, _REQUEST | _ACKNOWLEDGE, family, body))
    (answer,) = messages(kernel.recv(1 << 16))
    try:
        _raise(answer.body)
    except FileNotFoundError:
        return False
    return True


def _raise(body: bytes) -> None:
    (code,) = struct.unpack_from("=i", body)
    if code:
        raise OSError(-code, os.strerror(-code))


def _request(kind: int, flags: int, family: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0, family, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")

"""Which interfaces go, are set down or lose an address, told by the kernel (linux/rtnetlink.h)."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from hostports.linux.multicast import Message, attributes, messages, of_links, text

#: RTNLGRP_LINK; RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR.
_GROUPS: Final = 1 << (1 - 1) | 1 << (5 - 1) | 1 << (9 - 1)
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_DELADDR: Final = 21
#: ifinfomsg: family, flags, and which of these have changed.
_INFO: Final = struct.Struct("=BxHiII")
#: The interface's number in an ifaddrmsg.
_INDEX: Final = struct.Struct("=4xI")
_AF_UNSPEC: Final = 0
_IFLA_IFNAME: Final = 3
_IFF_UP: Final = 1
#: What is said to have changed of an interface that is new.
_ALL_FLAGS: Final = 0xFFFFFFFF


class LinkWatch:
    """`Watch` of interfaces in the network namespace of the thread that makes and reads it.

    What it reads are names of interfaces that have gone, were set down, or have lost an address; an
    empty name stands for all that could not be told. Raises `LinkFailed` where the kernel doesn't
    tell.
    """

    def __init__(self) -> None:
        self._told = of_links(_GROUPS, "interfaces")
        self.fileno = self._told.fileno
        self.close = self._told.close

    def read(self) -> list[str]:
        """The names of what has gone or lost something since the last call, each once."""
        found: dict[str, None] = {}
        for datagram in self._told.datagrams():
            if not datagram:
                found[""] = None
            for message in messages(datagram):
                found.update(dict.fromkeys(_damaged(message)))
        return list(found)


def _damaged(message: Message) -> Iterator[str]:
    """The interface that a message says something bad of."""
    if message.kind == _RTM_DELADDR:
        with suppress(OSError):  # it has gone since, and that is told, too
            yield socket.if_indextoname(*_INDEX.unpack_from(message.body))
    elif message.kind in (_RTM_NEWLINK, _RTM_DELLINK):
        family, _, _, flags, changed = _INFO.unpack_from(message.body)
        # A port that leaves a bridge is told of in the same way, but by AF_BRIDGE.
        gone = message.kind == _RTM_DELLINK
        if family == _AF_UNSPEC and (gone or _set_down(flags, changed)):
            yield text(attributes(message.body[_INFO.size :])[_IFLA_IFNAME])


def _set_down(flags: int, changed: int) -> bool:
    return not flags & _IFF_UP and bool(changed & _IFF_UP) and changed != _ALL_FLAGS

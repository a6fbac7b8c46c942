"""Which interfaces of the host go, told by the kernel (RTNLGRP_LINK, linux/rtnetlink.h)."""

from typing import Final

from hostports.linux.multicast import attributes, messages, of_links, text

_GROUP_LINK: Final = 1 << (1 - 1)
_RTM_DELLINK: Final = 17
#: ifinfomsg
_INFO_BYTES: Final = 16
_AF_UNSPEC: Final = 0
_IFLA_IFNAME: Final = 3


class LinkWatch:
    """`Watch` of interfaces in the network namespace of the thread that makes it.

    What it reads are names of interfaces that have gone; an empty name stands for all that could
    not be told. Raises `LinkFailed` where the kernel doesn't tell.
    """

    def __init__(self) -> None:
        self._told = of_links(_GROUP_LINK, "interfaces")
        self.fileno = self._told.fileno
        self.close = self._told.close

    def read(self) -> list[str]:
        """The names of what has gone since the last call."""
        gone: dict[str, None] = {}
        for datagram in self._told.datagrams():
            if not datagram:
                gone[""] = None
            for message in messages(datagram):
                # A port that leaves a bridge is told of in the same way, but by AF_BRIDGE.
                if message.kind == _RTM_DELLINK and message.body[0] == _AF_UNSPEC:
                    gone[text(attributes(message.body[_INFO_BYTES:])[_IFLA_IFNAME])] = None
        return list(gone)

"""That addresses of the host's interfaces change, told by the kernel (linux/rtnetlink.h)."""

from typing import Final

from hostports.linux.multicast import messages, of_links

#: RTNLGRP_LINK, for other names; RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR.
_GROUPS: Final = 1 << (1 - 1) | 1 << (5 - 1) | 1 << (9 - 1)
#: The messages of these groups, by RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR.
_TOLD: Final = {
    16: "an interface is new, or other than it was",
    17: "an interface has gone",
    20: "an address is new, or other than it was",
    21: "an address has gone",
}


class AddressWatch:
    """`Watch` of interfaces' addresses in the network namespace of the thread that makes it.

    What it reads says only what kind of changes there were: whoever reads it looks for himself.
    Raises `LinkFailed` where the kernel doesn't tell.
    """

    def __init__(self) -> None:
        self._told = of_links(_GROUPS, "addresses")
        self.fileno = self._told.fileno
        self.close = self._told.close

    def read(self) -> list[str]:
        """What kinds of changes there were since the last call, each once."""
        found: dict[str, None] = {}
        for datagram in self._told.datagrams():
            if not datagram:
                found["more than could be told"] = None
            for message in messages(datagram):
                if what := _TOLD.get(message.kind):
                    found[what] = None
        return list(found)

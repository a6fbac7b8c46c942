"""The fake of `HostSockets`, on a kernel that is a table."""

import errno

from hostports.errors import (
    AddressNotOnHost,
    AddressOfLink,
    HostPortInUse,
    PortError,
    SocketFailed,
    UnsupportedProtocol,
)
from hostports.model.address import Family, family
from hostports.model.port import HeldSocket, Protocol, SocketAddress
from hostports.testing.faults import Faults
from hostports.testing.kernel import FakeKernel, FakeSocket


class FakeHostSockets:
    """Host sockets by Linux's rules; fails on ``sockets.reserve`` and ``sockets.listen``."""

    def __init__(self, kernel: FakeKernel, faults: Faults | None = None) -> None:
        self._kernel = kernel
        self._faults = faults or Faults()
        self._held: dict[SocketAddress, FakeSocket] = {}

    def reserve(self, address: SocketAddress) -> None:
        """Bind a socket in the table."""
        if self._faults.due("sockets.reserve"):
            raise SocketFailed(f"injected: {address} can't be bound")
        try:
            self._held[address] = self._kernel.open(
                address.protocol,
                address.ip,
                address.port,
                reuseaddr=address.protocol is not Protocol.UDP,
            )
        except OSError as error:
            raise _translated(error, address) from error

    def listen(self, address: SocketAddress, *, relayed: bool) -> None:  # noqa: ARG002 - no backlog here
        """Listen in the table; a datagram socket needs nothing."""
        if self._faults.due("sockets.listen"):
            raise SocketFailed(f"injected: {address} can't listen")
        if not address.protocol.listens:
            return
        try:
            self._kernel.listen(self._held[address])
        except OSError as error:
            raise _translated(error, address) from error

    def holder(self, address: SocketAddress) -> str:  # noqa: ARG002 - a table has no processes
        """Nobody can tell."""
        return ""

    def fileno(self, address: SocketAddress) -> int:
        """A made-up descriptor."""
        return self._held[address].fileno()

    def release(self, address: SocketAddress) -> None:
        """Close a socket of ours in the table."""
        if held := self._held.pop(address, None):
            self._kernel.close(held)

    def dump(self) -> list[HeldSocket]:
        """The sockets held, sorted."""
        return sorted(
            (
                HeldSocket(
                    address,
                    held.listening,
                    held.reuseaddr,
                    held.v6only if family(address.ip) is Family.IPV6 else None,
                    pktinfo=address.protocol is Protocol.UDP,
                )
                for address, held in self._held.items()
            ),
            key=str,
        )


def _translated(error: OSError, address: SocketAddress) -> PortError | UnsupportedProtocol:
    match error.errno:
        case errno.EADDRINUSE:
            return HostPortInUse(str(address))
        case errno.EADDRNOTAVAIL:
            return AddressNotOnHost(str(address))
        case errno.EINVAL:
            return AddressOfLink(str(address))
        case errno.EPROTONOSUPPORT:
            return UnsupportedProtocol(f"the kernel has no {address.protocol.value} sockets")
        case _:
            return SocketFailed(f"{address}: {error.strerror}")

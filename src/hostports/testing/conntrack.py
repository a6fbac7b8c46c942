"""The fake of `Conntrack`: flows as a list."""

from collections.abc import Callable, Collection, Iterable

from hostports.errors import ConntrackFailed
from hostports.model.address import IPAddress, is_wildcard
from hostports.model.flow import Flow
from hostports.model.port import SocketAddress
from hostports.testing.faults import Faults


class FakeConntrack:
    """Remembers `flows` until they are forgotten; fails on ``conntrack.forget``."""

    def __init__(self, flows: Iterable[Flow] = (), faults: Faults | None = None) -> None:
        self.flows = list(flows)
        self._faults = faults or Faults()

    def forget(self, sockets: Collection[SocketAddress]) -> int:
        """Forget flows to any of these."""
        return self.forget_if(lambda flow: any(_leads_to(flow, each) for each in sockets))

    def forget_if(
        self, unwanted: Callable[[Flow], bool], naming: Collection[IPAddress] = ()
    ) -> int:
        """Forget what is unwanted, or fail and forget nothing."""
        if self._faults.due("conntrack.forget"):
            raise ConntrackFailed("injected: flows can't be forgotten")
        before = len(self.flows)
        self.flows = [each for each in self.flows if not (_names(each, naming) and unwanted(each))]
        return before - len(self.flows)


def _leads_to(flow: Flow, socket: SocketAddress) -> bool:
    if (flow.protocol, flow.port) != (socket.protocol.number, socket.port):
        return False
    if is_wildcard(socket.ip):
        return flow.to_host and flow.destination.version == socket.ip.version
    return flow.destination == socket.ip


def _names(flow: Flow, some: Collection[IPAddress]) -> bool:
    ends = {flow.source, flow.destination, flow.answered_by, flow.answered_to}
    return not some or not ends.isdisjoint(some)

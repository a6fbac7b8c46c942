"""Fakes of the edges: stateful, all or nothing, with `dump` to look inside."""

from collections.abc import Sequence, Set
from dataclasses import replace

from hostports.core.relay.dialling import refuse_unfit
from hostports.errors import (
    FirewallFailed,
    LinkFailed,
    PortDriverConflict,
    PortDriverFailed,
    RelayFailed,
    ReleaseFailed,
)
from hostports.interfaces import RelayedBinding
from hostports.model.firewall import FirewallChange, FirewallItem, Traffic
from hostports.model.host import Host, InterfaceAddress, PortDriverInfo
from hostports.model.port import PortBinding, SocketAddress
from hostports.model.relay import HeldBinding, RelayCounters
from hostports.testing.faults import Faults


class FakeHostFacts:
    """Tells what it was told; `host` and `interfaces` may be exchanged between requests.

    Fails on ``facts.addresses``.
    """

    def __init__(self, host: Host | None = None, faults: Faults | None = None) -> None:
        self.host = host or Host()
        self.interfaces: dict[str, Sequence[InterfaceAddress]] = {}
        self._faults = faults or Faults()

    def read(self) -> Host:
        """The host as the test wants it."""
        return self.host

    def addresses(self, interface: str) -> Sequence[InterfaceAddress] | None:
        """Those that the test wants, or fail."""
        if self._faults.due("facts.addresses"):
            raise LinkFailed(f"injected: the addresses of {interface!r} can't be read")
        return self.interfaces.get(interface)


class FakeFirewall:
    """A set of networks, endpoints and open bindings; fails on ``firewall.apply``.

    `flush` is what others do to it, until it is rebuilt, which fails on ``firewall.rebuild``.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._open: dict[FirewallItem, None] = {}
        self._flushed = False
        self.rebuilt = 0

    def apply(self, change: FirewallChange) -> None:
        """Close and open items, or fail and do neither."""
        if self._faults.due("firewall.apply"):
            raise FirewallFailed("injected: the firewall refuses")
        for item in change.closed:
            self._open.pop(item, None)
        self._open.update(dict.fromkeys(change.opened))

    def planned(self, change: FirewallChange) -> list[str]:
        """An item a line."""
        return [f"close {each}" for each in change.closed] + [
            f"open {each}" for each in change.opened
        ]

    def rebuild(self, parts: Set[str] = frozenset()) -> None:  # noqa: ARG002 - it has none
        """Show again what is open, or fail."""
        if self._faults.due("firewall.rebuild"):
            raise FirewallFailed("injected: the firewall can't be rebuilt")
        self._flushed = False
        self.rebuilt += 1

    def flush(self) -> None:
        """Let somebody else delete everything."""
        self._flushed = True

    def damage(self) -> list[str]:
        """Whether somebody did."""
        return ["everything is missing"] if self._flushed else []

    def traffic(self) -> dict[SocketAddress, Traffic]:
        """Nothing has passed."""
        return {each.socket: Traffic() for each in self._open if isinstance(each, PortBinding)}

    def dump(self) -> list[str]:
        """The open bindings, and the container ports that they let in, each once."""
        there = {} if self._flushed else self._open
        bindings = [each for each in there if isinstance(each, PortBinding)]
        nat = [f"dnat {each.socket} to {each}" for each in bindings if not each.routed]
        accept = {
            f"accept {SocketAddress(each.protocol, each.container_ip, each.container_port)}"
            for each in bindings
        }
        return sorted(nat) + sorted(accept)


class FakeRelay:
    """A table of held bindings; fails on ``relay.add`` and ``relay.remove``, counted by binding.

    It relays nothing, so its counters stay 0. It can't wait either: what drains does so until it is
    removed, as if connections stayed open and time stood still.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self._held: dict[PortBinding, HeldBinding] = {}
        self._draining: list[HeldBinding] = []

    def add(self, bindings: Sequence[RelayedBinding]) -> None:
        """Serve all bindings, or fail and serve none of them."""
        added: dict[PortBinding, HeldBinding] = {}
        for each in bindings:
            if self._faults.due("relay.add"):
                raise RelayFailed(f"injected: the relay can't serve {each.binding}")
            if each.binding in self._held or each.binding in added:
                raise RelayFailed(f"{each.binding} is relayed already")
            refuse_unfit(each.binding)
            added[each.binding] = HeldBinding(each.binding, RelayCounters())
        self._held.update(added)

    def remove(self, bindings: Sequence[PortBinding]) -> None:
        """Stop serving bindings, also after one has failed; that one isn't served either."""
        failures = []
        for binding in bindings:
            self._held.pop(binding, None)
            self._draining = [each for each in self._draining if each.binding != binding]
            if self._faults.due("relay.remove"):
                failures.append(RelayFailed(f"injected: the relay can't give up {binding}"))
        if failures:
            raise ReleaseFailed(failures)

    def drain(self, bindings: Sequence[PortBinding], seconds: float) -> None:  # noqa: ARG002 - see above
        """Mark bindings as draining until they are removed."""
        for binding in bindings:
            if found := self._held.pop(binding, None):
                self._draining.append(replace(found, draining=True))

    def held(self) -> list[HeldBinding]:
        """The bindings in the order in which they were added, and those that drain."""
        return [*self._held.values(), *self._draining]

    def dump(self) -> list[str]:
        """The served bindings."""
        return sorted(map(str, self._held))


class FakePortDriver:
    """A table of forwardings; fails on ``port_driver.add`` and ``….remove``.

    `busy` are addresses that others hold in the parent namespace.
    """

    def __init__(self, info: PortDriverInfo, faults: Faults | None = None) -> None:
        self.busy: set[SocketAddress] = set()
        self._info = info
        self._faults = faults or Faults()
        self._forwardings: dict[SocketAddress, SocketAddress] = {}

    def info(self) -> PortDriverInfo:
        """What it was made with."""
        return self._info

    def forwardings(self) -> dict[SocketAddress, SocketAddress]:
        """What is forwarded now."""
        return dict(self._forwardings)

    def add(self, parent: SocketAddress, child: SocketAddress) -> None:
        """Forward, or fail and don't."""
        if self._faults.due("port_driver.add"):
            raise PortDriverFailed(f"injected: the port driver can't forward {parent}")
        if parent in self.busy or parent in self._forwardings:
            raise PortDriverConflict(f"{parent} is in use in the parent namespace")
        self._forwardings[parent] = child

    def remove(self, parent: SocketAddress) -> None:
        """End a forwarding, also if the call fails."""
        self._forwardings.pop(parent, None)
        if self._faults.due("port_driver.remove"):
            raise PortDriverFailed(f"injected: the port driver can't end {parent}")

    def dump(self) -> list[str]:
        """The forwardings, parent to child."""
        return sorted(f"{parent} -> {child}" for parent, child in self._forwardings.items())

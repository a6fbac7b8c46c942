"""What the engine needs from the world, one small Protocol each.

Every Protocol has one real implementation (``linux``, ``relay``, ``rootless``) and one stateful
fake (``testing``). Errors are those of `hostports.errors`: an edge translates what the kernel says.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol as Interface
from typing import TypeVar

from hostports.model.address import Family, IPAddress
from hostports.model.condition import Condition
from hostports.model.firewall import FirewallChange, Traffic
from hostports.model.flow import Flow
from hostports.model.host import Host, InterfaceAddress, PortDriverInfo
from hostports.model.links import HostLinks
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, Protocol, SocketAddress
from hostports.model.relay import HeldBinding
from hostports.model.state import Recorded, State

#: What a `Watch` tells.
Told_co = TypeVar("Told_co", covariant=True)


class HostFacts(Interface):
    """What there is to know of the host."""

    def read(self) -> Host:
        """The host as it is now."""
        ...

    def addresses(self, interface: str) -> Sequence[InterfaceAddress] | None:
        """Those of an interface, as they are now; None if there is no such interface.

        Raises `LinkFailed` or `NotPermitted`.
        """
        ...


class HostSockets(Interface):
    """The sockets that hold host ports for us until the relay takes them over.

    A socket goes by its address; nothing else needs to be remembered of it.
    """

    def reserve(self, address: SocketAddress) -> None:
        """Bind a socket; nothing that arrives reaches it before `listen`.

        Raises `HostPortInUse`, `AddressNotOnHost`, `NotPermitted`, `UnsupportedProtocol` or
        `SocketFailed`; then there is no socket. Cheap also when the port is in use: thousands may
        be tried, so finding out by whom is left to `holder`.
        """
        ...

    def listen(self, address: SocketAddress, *, relayed: bool) -> None:
        """Let traffic in, and accept connections where the protocol has them.

        Without a relay nobody accepts; listening then only shows the port as taken (backlog 0).
        Raises `HostPortInUse` if a socket of an overlapping address listens meanwhile.
        """
        ...

    def holder(self, address: SocketAddress) -> str:
        """Which process holds an address, as ``nginx (pid 812)``; empty where nobody can tell."""
        ...

    def fileno(self, address: SocketAddress) -> int:
        """The descriptor of a reserved socket, for the relay."""
        ...

    def release(self, address: SocketAddress) -> None:
        """Close our copy of a socket; no effect where there is none."""
        ...


class Firewall(Interface):
    """Whoever opens bindings to packets."""

    def apply(self, change: FirewallChange) -> None:
        """Make a change in one transaction, or raise `FirewallFailed` and change nothing.

        What is open already is not opened twice, and closing what is not open has no effect. What
        bindings share (one container port behind two host ports) stays until the last one closes.
        """
        ...

    def planned(self, change: FirewallChange) -> list[str]:
        """What `apply` would have done, in the words of whoever does it."""
        ...

    def rebuild(self, parts: Set[str] = frozenset()) -> None:
        """Make all that is open anew, in one transaction, whatever others did to it meanwhile.

        Where that takes long, what protects comes before, in a transaction of its own; and if
        others have changed no other `parts` than these, of the rest only what is in them. Raises
        `FirewallFailed`; then everything else is as it was.
        """
        ...

    def damage(self) -> Sequence[str]:
        """What others did to what is open, in words; empty if all is there.

        A look now and then, beside a `Watch`: it may miss what was replaced by its like.
        """
        ...

    def traffic(self) -> Mapping[SocketAddress, Traffic]:
        """What has passed through each open binding by DNAT, by its socket."""
        ...


class Guards(Interface):
    """What is remembered of the host before us: in which families it was no router.

    As long as it is one by us, only what is ours is forwarded there. Rules that say so would go
    with whoever flushes them. All raise `StoreFailed`.
    """

    def add(self, families: Set[Family]) -> frozenset[Family]:
        """Remember these, too, before forwarding is switched on; all that are remembered."""
        ...

    def remove(self, families: Set[Family]) -> None:
        """Forget these, when forwarding is off again."""
        ...


@dataclass(frozen=True, slots=True)
class RelayedBinding:
    """A binding and the descriptor of the socket that the relay serves it on."""

    binding: PortBinding
    fileno: int


class Relay(Interface):
    """The userland proxy: it serves sockets it is given and dials the container.

    Every call raises `RelayFailed` if the relay can't be reached.
    """

    def add(self, bindings: Sequence[RelayedBinding]) -> None:
        """Serve all of them, each on a copy of its descriptor, or raise `RelayFailed` and none.

        Refused are a binding that is served already or routed, and one whose container address is
        loopback, unspecified or multicast: its clients would become local ones (CVE-2021-20199).
        """
        ...

    def remove(self, bindings: Sequence[PortBinding]) -> None:
        """Stop serving them, going on after errors; raises `ReleaseFailed` with all of these.

        Their connections are reset, their ports free. A binding that isn't held has no effect.
        """
        ...

    def drain(self, bindings: Sequence[PortBinding], seconds: float) -> None:
        """Take no new connections; open ones go on, and are reset after so many seconds.

        The port is free at once; that of UDP is when no session is left. A binding that has no
        connections, or no longer any, is not held. One that isn't held has no effect; one that
        drains may be added again.
        """
        ...

    def held(self) -> list[HeldBinding]:
        """All bindings that were given and not removed, also those that drain."""
        ...


class PortDriver(Interface):
    """RootlessKit's port driver, which forwards ports of the parent namespace to ours.

    A forwarding goes by its parent address. All raise `PortDriverFailed`.
    """

    def info(self) -> PortDriverInfo:
        """What it can do; it does not change while the driver runs."""
        ...

    def forwardings(self) -> Mapping[SocketAddress, SocketAddress]:
        """The forwardings that were added here and not removed, parent to child.

        Also those that somebody added here who was killed since. What others, as a Docker daemon,
        asked the same driver for is not among them.
        """
        ...

    def add(self, parent: SocketAddress, child: SocketAddress) -> None:
        """Forward `parent` to `child`.

        Raises `PortDriverConflict` if another port could help, and `UnusableValue` or
        `NotPermitted` where it is the parent namespace that lacks the address or the right.
        """
        ...

    def remove(self, parent: SocketAddress) -> None:
        """End a forwarding; no effect where there is none."""
        ...


class Conntrack(Interface):
    """The kernel's memory of flows, which outlives the rules that it was made by."""

    def forget(self, sockets: Collection[SocketAddress]) -> int:
        """Forget the flows to host sockets, a wildcard meaning every address of the host.

        Returns how many there were. Raises `ConntrackFailed` or `NotPermitted`.
        """
        ...

    def forget_if(
        self, unwanted: Callable[[Flow], bool], naming: Collection[IPAddress] = ()
    ) -> int:
        """Forget all flows that are unwanted; how many there were. Raises the same.

        With `naming`, which makes it cheap, only flows from, to or answered by one of these are
        looked at.
        """
        ...


class Links(Interface):
    """The host's bridges, and the virtual cables to endpoints.

    All raise `LinkFailed`, which names what could not be done and why, or `NotPermitted`.
    """

    def read(self) -> HostLinks:
        """What is there now."""
        ...

    def namespace(self, text: str) -> str:
        """The file of a network namespace, given by its path or by its name (ip-netns(8)).

        Raises `UnusableValue` if there is none.
        """
        ...

    def add_bridge(self, network: BridgeNetwork) -> None:
        """Make a network's bridge, with its gateway addresses, and set it up; all or nothing.

        An existing bridge of somebody else is only checked to be there; where the network is for
        ports only, it may be any interface.
        """
        ...

    def restore_bridge(self, network: BridgeNetwork) -> bool:
        """Make a network's bridge if somebody has removed it; set it up, with all its addresses.

        Returns whether anything was missing. Nothing is done to a bridge of somebody else.
        """
        ...

    def remove_bridge(self, network: BridgeNetwork) -> None:
        """Remove a network's bridge if it is ours; no effect where it is gone."""
        ...

    def attach(self, endpoint: Endpoint) -> None:
        """Wire an endpoint's namespace to its bridge, all or nothing.

        Inside there are then ``eth0`` with its addresses, default routes by the gateways, and
        loopback is up. An endpoint without a namespace is only known, not touched.
        """
        ...

    def plug_in(self, endpoint: Endpoint) -> bool:
        """Join an endpoint's cable to the bridge again, which was removed and made anew meanwhile.

        Returns whether there is such a cable, into the endpoint's own namespace; else nothing is
        done.
        """
        ...

    def detach(self, endpoint: Endpoint) -> None:
        """Take the cable away; no effect where it, or the namespace, is gone."""
        ...

    def restore_inside(self, endpoint: Endpoint) -> bool:
        """Set an attached endpoint's ``eth0`` up, with the addresses and default routes it lost.

        Returns whether anything was missing. Whoever has another default route keeps it.
        """
        ...

    def attached(self, endpoint: Endpoint) -> bool:
        """Whether the cable is there, in an endpoint's namespace and on its bridge."""
        ...


class StateStore(Interface):
    """The record of what is wanted: written before the kernel is touched.

    All raise `StoreFailed`.
    """

    def load(self) -> State:
        """What was recorded."""
        ...

    def record(
        self,
        added: Sequence[Recorded] = (),
        removed: Sequence[Recorded] = (),
        *,
        at: datetime,
    ) -> None:
        """Add and remove networks, endpoints, bindings and followings, all or nothing.

        Removals come first. What is there already stays as it is; what isn't there has no effect.
        A network takes its endpoints with it, an endpoint its bindings and followings.
        """
        ...

    def former(self, endpoint: str) -> Mapping[tuple[Protocol, int], int]:
        """The host ports of bindings that were removed, by container port, the last one each.

        Those of endpoints that were removed, too; only so many are remembered.
        """
        ...


class Watch(Interface[Told_co]):
    """What others do to something of ours, told as it happens."""

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to `read`."""
        ...

    def read(self) -> Sequence[Told_co]:
        """What others have done since the last call; empty if it was ourselves. Never waits."""
        ...


class Inspection(Interface):
    """What on the host may keep published ports from being reached."""

    def read(self, namespaces: Collection[str] = ()) -> Condition:
        """The host as it is now, and what is in endpoints' namespaces, given by their files.

        Raises `FirewallFailed` if nobody tells.
        """
        ...


class Tracing(Interface):
    """Whoever sees which way packets really take through the host's rules."""

    def follow(
        self, to: SocketAddress, seconds: float, *, probe: bool
    ) -> AsyncGenerator[str, None]:
        """Lines of a trace of packets to an address and of answers, in nft's words.

        The first line is empty: from there on nothing is missed. It ends when nothing comes any
        more, or after so many seconds if nothing came at all. With `probe` this host asks itself.
        Raises `FirewallFailed`.
        """
        ...


class Clock(Interface):
    """The time of day."""

    def now(self) -> datetime:
        """In UTC."""
        ...

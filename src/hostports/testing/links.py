"""The fake of `Links`: bridges and cables as tables."""

from hostports.core.networks import cable_name
from hostports.errors import LinkFailed, LinkTaken, UnusableValue
from hostports.model.address import Family, IPNetwork
from hostports.model.links import HostLinks, Interface
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.testing.faults import Faults


class FakeLinks:
    """A host's bridges and cables; fails on ``links.add_bridge``, ``….remove_bridge``, and so on.

    `host` is what the host has besides ours. `gone` are files of namespaces that have ended; all
    others are there.
    """

    def __init__(self, host: HostLinks | None = None, faults: Faults | None = None) -> None:
        self.host = host or HostLinks()
        self.gone: set[str] = set()
        self._faults = faults or Faults()
        self._bridges: dict[str, BridgeNetwork] = {}
        self._cables: dict[str, Endpoint] = {}
        # A cable stays when its bridge goes, and a new bridge of the same name doesn't know it.
        self._loose: set[str] = set()
        self._bare: set[str] = set()

    def read(self) -> HostLinks:
        """What the host has, and our bridges; no cables, as no decision asks for these."""
        ours = {
            name: () if name in self._bare else _subnets(network)
            for name, network in self._bridges.items()
        }
        interfaces = {name: Interface(subnets, bridge=True) for name, subnets in ours.items()}
        routes = {subnet: name for name, subnets in ours.items() for subnet in subnets}
        return HostLinks({**self.host.interfaces, **interfaces}, {**self.host.routes, **routes})

    def namespace(self, text: str) -> str:
        """A path as it is, a name in /run/netns."""
        path = text if "/" in text else f"/run/netns/{text}"
        if path in self.gone:
            raise UnusableValue(text, f"there is no {path}", "write another one")
        return path

    def add_bridge(self, network: BridgeNetwork) -> None:
        """Put a bridge into the table, or look whether the existing one is there."""
        if self._faults.due("links.add_bridge"):
            raise LinkFailed(f"injected: bridge {network.bridge!r} can't be made")
        if network.existing:
            self._refuse_missing(network)
            return
        if network.bridge in self.read().interfaces:
            raise LinkTaken(f"bridge {network.bridge!r} can't be made: it is there already")
        self._bridges[network.bridge] = network

    def restore_bridge(self, network: BridgeNetwork) -> bool:
        """Put our bridge into the table again if it isn't there, with its addresses."""
        if network.existing:
            return False
        if network.bridge not in self._bridges:
            self.add_bridge(network)
        elif network.bridge not in self._bare:
            return False
        self._bare.discard(network.bridge)
        return True

    def lay_bare(self, interface: str) -> None:
        """Take the addresses of a bridge, or by its cable of an endpoint, as others may."""
        self._bare.add(interface)

    def remove_bridge(self, network: BridgeNetwork) -> None:
        """Take our bridge out of the table; its cables are loose."""
        if network.existing:
            return
        if self._faults.due("links.remove_bridge"):
            raise LinkFailed(f"injected: bridge {network.bridge!r} can't be removed")
        self._bare.discard(network.bridge)
        if self._bridges.pop(network.bridge, None):
            self._loose |= {
                name
                for name, endpoint in self._laid().items()
                if endpoint.network.bridge == network.bridge
            }

    def attach(self, endpoint: Endpoint) -> None:
        """Put a cable into the table, where bridge and namespace are there and have no such one."""
        if not endpoint.namespace:
            return
        if self._faults.due("links.attach"):
            raise LinkFailed(f"injected: endpoint {endpoint.name!r} can't be attached")
        self._refuse_missing(endpoint.network)
        if endpoint.namespace in self.gone:
            raise LinkFailed(f"namespace {endpoint.namespace!r} is gone")
        laid = self._laid()
        if endpoint.name in self._loose:
            laid.pop(endpoint.name, None)
        if endpoint.name in laid:
            raise LinkTaken(f"endpoint {endpoint.name!r} has a cable already")
        if any(endpoint.namespace == other.namespace for other in laid.values()):
            raise LinkTaken(f"namespace {endpoint.namespace!r} has an eth0 already")
        self._cables = laid
        self._cables[endpoint.name] = endpoint
        self._loose.discard(endpoint.name)

    def plug_in(self, endpoint: Endpoint) -> bool:
        """Tie a loose cable whose namespace is there."""
        if endpoint.name not in self._loose or endpoint.name not in self._laid():
            return False
        self._refuse_missing(endpoint.network)
        self._loose.discard(endpoint.name)
        return True

    def detach(self, endpoint: Endpoint) -> None:
        """Take a cable out of the table."""
        if not endpoint.namespace:
            return
        if self._faults.due("links.detach"):
            raise LinkFailed(f"injected: endpoint {endpoint.name!r} can't be detached")
        self._cables.pop(endpoint.name, None)
        self._loose.discard(endpoint.name)

    def restore_inside(self, endpoint: Endpoint) -> bool:
        """Give an endpoint its addresses again."""
        lost = self.attached(endpoint) and cable_name(endpoint) in self._bare
        self._bare.discard(cable_name(endpoint))
        return lost

    def attached(self, endpoint: Endpoint) -> bool:
        """Whether the cable is in the table, by its namespace and bridge."""
        laid = self._laid().get(endpoint.name)
        return (
            laid is not None
            and endpoint.name not in self._loose
            and laid.namespace == endpoint.namespace
            and laid.network.bridge == endpoint.network.bridge
        )

    def dump(self) -> list[str]:
        """Our bridges, then the cables."""
        there = self.read()
        bridges = [
            " ".join([f"bridge {name}", *map(str, there.interfaces[name].subnets)])
            for name in sorted(self._bridges)
        ]
        cables = [
            f"cable of {name} from {'nowhere' if name in self._loose else endpoint.network.bridge} "
            f"to {endpoint.namespace}"
            for name, endpoint in sorted(self._laid().items())
        ]
        return bridges + cables

    def _laid(self) -> dict[str, Endpoint]:
        """The cables whose namespaces are there: one that ends takes its cable along."""
        return {
            name: each for name, each in self._cables.items() if each.namespace not in self.gone
        }

    def _refuse_missing(self, network: BridgeNetwork) -> None:
        found = self.read().interfaces.get(network.bridge)
        if found is None or not (found.bridge or network.ports_only):
            raise LinkFailed(f"bridge {network.bridge!r} is not there")


def _subnets(network: BridgeNetwork) -> tuple[IPNetwork, ...]:
    """The subnets of a bridge's addresses; an isolated network has none."""
    return tuple(
        subnet
        for of in Family
        if (subnet := network.subnet(of)) is not None and network.gateway(of) is not None
    )

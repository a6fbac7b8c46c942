"""What the daemon is made of: the only place that names the real edges."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from hostports.core.rules.data import Settings
from hostports.daemon.config import Config, FirewallChoice
from hostports.daemon.relay import RelayKeeper
from hostports.daemon.rootless import port_driver
from hostports.engine import Edges, Engine
from hostports.engine.registry import Registry
from hostports.engine.restart import Return, bring_back
from hostports.engine.undo import UndoStack, take_all
from hostports.errors import UnusableValue
from hostports.interfaces import Guards, Watch
from hostports.linux import firewalls
from hostports.linux.address_watch import AddressWatch
from hostports.linux.conntrack import LinuxConntrack
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.guard import lifetime
from hostports.linux.inspection import LinuxInspection
from hostports.linux.iptables import IptablesFirewall
from hostports.linux.link_watch import LinkWatch
from hostports.linux.links import LinuxLinks
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.no_firewall import NoFirewall
from hostports.linux.programs import wait_for_orphans
from hostports.linux.rule_watch import RuleWatch, in_our_chains, in_our_table
from hostports.linux.sockets import LinuxHostSockets
from hostports.linux.tracing import NftTracing
from hostports.model.condition import OurFirewall
from hostports.model.firewall import Damage, FirewallItem
from hostports.model.state import State
from hostports.store.guards import SqliteGuards
from hostports.store.sqlite import SqliteStore

log: Final = logging.getLogger("hostports")
#: Who makes the rules, by choice.
_MAKERS: Final[Mapping[FirewallChoice, firewalls.Maker]] = {
    FirewallChoice.AUTO: firewalls.whichever,
    FirewallChoice.NFTABLES: firewalls.nftables,
    FirewallChoice.IPTABLES: firewalls.iptables,
    FirewallChoice.NONE: firewalls.nobody,
}


@dataclass(frozen=True, slots=True)
class Composition:
    """The parts that the daemon's life concerns, and what did not come back at the start."""

    registry: Registry
    store: SqliteStore
    firewall: firewalls.RealFirewall
    relay: RelayKeeper | None
    inspection: LinuxInspection
    tracing: NftTracing
    returned: Return

    def watches(self) -> tuple[Watch[Damage] | None, Watch[str]]:
        """What tells of changes that others make to our rules, and to our links.

        Raises `FirewallFailed` or `LinkFailed`.
        """
        return _rule_watch(self.firewall), LinkWatch()

    def address_watch(self) -> Watch[str]:
        """What tells that interfaces have other addresses. Raises `LinkFailed`."""
        return AddressWatch()


def compose(config: Config, around: Callable[[Edges], Edges] = lambda edges: edges) -> Composition:
    """Put everything together, and bring back what is recorded.

    `around` may put something around the edges, to watch what they do or to break it.
    If that fails, all is as before, but for a relay that was started, and holds nothing. Raises
    `UnusableValue`, `DaemonThere`, `StoreFailed`, `FirewallFailed`, `RelayFailed`,
    `PortDriverFailed`, `NotPermitted`.
    """
    _refuse_unserved(config)
    with UndoStack() as undo:
        return _composed(config, around, undo)


def _composed(config: Config, around: Callable[[Edges], Edges], undo: UndoStack) -> Composition:
    wait_for_orphans()
    store = SqliteStore(config.state_file)
    undo.push(store.close)
    state = store.load()
    if state.bindings:
        log.info("bringing back %d port bindings", len(state.bindings))
    driver = port_driver(config)
    sockets = LinuxHostSockets()
    keeper = RelayKeeper(config.relay_socket, config.relay_settings, store)
    relay = keeper if config.relay else None
    # Rules first: isolation must hold before anything can be reached.
    firewall = _firewall(config, state, SqliteGuards(store, *lifetime()))
    if not state.networks:
        undo.push(firewall.remove)
    sockets.inherit(keeper.attend() if config.relay else keeper.dismiss())
    edges = Edges(
        LinuxHostFacts(config.dynamic_range),
        sockets,
        firewall,
        relay.client if relay else None,
        driver,
        conntrack=LinuxConntrack(),
        links=LinuxLinks(hairpin=relay is None),
        store=store,
        nat=not isinstance(firewall, NoFirewall),
    )
    registry = Registry(Engine(around(edges)), config.default_host_ip)
    returned = bring_back(registry, state)
    sockets.disinherit()
    return Composition(
        registry,
        store,
        firewall,
        relay,
        LinuxInspection(_kind(firewall)),
        NftTracing(),
        returned,
    )


def _rule_watch(firewall: firewalls.RealFirewall) -> RuleWatch | None:
    """Who tells of changes; of iptables-legacy nobody does."""
    if isinstance(firewall, NftablesFirewall):
        return RuleWatch(firewall.programs, in_our_table)
    if isinstance(firewall, IptablesFirewall) and firewall.iptables.told_of:
        return RuleWatch(firewall.iptables.programs, in_our_chains)
    return None


def _kind(firewall: firewalls.RealFirewall) -> OurFirewall:
    if isinstance(firewall, NftablesFirewall):
        return OurFirewall.NFTABLES
    return OurFirewall.NONE if isinstance(firewall, NoFirewall) else OurFirewall.IPTABLES


def settings(config: Config) -> Settings:
    """What the firewall's rules depend on."""
    return Settings(relay=config.relay, direct_routing=config.allow_direct_routing)


def take_down(composition: Composition) -> None:
    """Unpublish everything, remove networks and endpoints, and leave nothing behind."""
    registry, relay = composition.registry, composition.relay
    take_all(
        [
            *(
                partial(registry.remove_network, each.name, force=True)
                for each in registry.networks()
            ),
            *([relay.stop] if relay is not None else []),
            composition.firewall.remove,
        ]
    )


def _refuse_unserved(config: Config) -> None:
    if config.firewall is FirewallChoice.NONE and not config.relay:
        raise UnusableValue(
            "--firewall none", "without a relay nothing would serve a port", "leave the relay on"
        )


def _firewall(config: Config, state: State, guards: Guards) -> firewalls.RealFirewall:
    wanted: list[FirewallItem] = [
        *state.networks.values(),
        *state.endpoints.values(),
        *state.bindings,
    ]
    make = _MAKERS[config.firewall]
    return make(settings(config), wanted, take_over=bool(state.networks), guards=guards)

"""Which firewall a host has, and that only one of them holds anything of ours."""

import subprocess
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from hostports.core.rules.data import Settings
from hostports.core.rules.listing import guarded_families, holds_networks
from hostports.core.rules.skeleton import TABLE
from hostports.errors import DaemonThere, FirewallFailed, NotPermitted
from hostports.interfaces import Guards
from hostports.linux.guard import NoGuards, UnrecordedGuards, stop_forwarding
from hostports.linux.iptables import Iptables, IptablesFirewall, hosts_own, installed
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.no_firewall import NoFirewall
from hostports.model.address import Family
from hostports.model.firewall import FirewallItem

PacketFilter: TypeAlias = NftablesFirewall | IptablesFirewall
RealFirewall: TypeAlias = PacketFilter | NoFirewall


class Maker(Protocol):
    """Makes a firewall by settings, with what is wanted open from the first moment on."""

    def __call__(
        self,
        settings: Settings,
        wanted: Sequence[FirewallItem],
        *,
        take_over: bool,
        guards: Guards | None = None,
    ) -> RealFirewall:
        """What another daemon has left is replaced only if it is ours to `take_over`.

        Without `guards`, which families are guarded is remembered by the rules alone.
        """
        ...


def nftables(
    settings: Settings,
    wanted: Sequence[FirewallItem],
    *,
    take_over: bool,
    guards: Guards | None = None,
) -> NftablesFirewall:
    """Rules by nft; those that iptables holds of us go when ours are up."""
    others = [each for each in installed() if _holds(each)]
    guards = guards or UnrecordedGuards()
    guards.add(_guarded(others))
    _refuse_others(others, take_over=take_over)
    firewall = NftablesFirewall(settings, wanted, take_over=take_over, guards=guards)
    _remove(others)
    return firewall


def iptables(
    settings: Settings,
    wanted: Sequence[FirewallItem],
    *,
    take_over: bool,
    guards: Guards | None = None,
) -> IptablesFirewall:
    """Rules by the host's iptables; those of nft and of its other kind go when ours are up."""
    ours = hosts_own()
    others = [each for each in installed() if each.variant != ours.variant and _holds(each)]
    table = _table_of_ours()
    guards = guards or UnrecordedGuards()
    guards.add(_guarded(others, table))
    _refuse_others(others, table, take_over=take_over)
    firewall = IptablesFirewall(settings, wanted, take_over=take_over, guards=guards, iptables=ours)
    _remove(others, table)
    return firewall


def nobody(
    settings: Settings,  # noqa: ARG001 - a maker like the others
    wanted: Sequence[FirewallItem],  # noqa: ARG001
    *,
    take_over: bool,
    guards: Guards | None = None,
) -> NoFirewall:
    """No rules; those that there are of us go, for they would lead to ports that are gone.

    So does the forwarding that they guarded.
    """
    guards = guards or UnrecordedGuards()
    others = [each for each in installed() if _holds(each)]
    table = _table_of_ours()
    guarded = guards.add(_guarded(others, table))
    _refuse_others(others, table, take_over=take_over)
    stop_forwarding(guarded)
    _remove(others, table)
    guards.remove(guarded)
    return NoFirewall()


def whichever(
    settings: Settings,
    wanted: Sequence[FirewallItem],
    *,
    take_over: bool,
    guards: Guards | None = None,
) -> RealFirewall:
    """Rules by nft if it works here, else by iptables. Raises `FirewallFailed` if neither does."""
    refusals: list[FirewallFailed] = []
    makers: Final[Sequence[Maker]] = (nftables, iptables)
    for make in makers:
        try:
            return make(settings, wanted, take_over=take_over, guards=guards)
        except FirewallFailed as error:
            refusals.append(error)
    raise FirewallFailed(
        "; and ".join(each.message for each in refusals),
        "install nftables, or start `hostports daemon --firewall none`, where the relay does all",
    )


def _holds(iptables: Iptables) -> bool:
    """Whether a kind of iptables has chains of ours; one that doesn't work here has none.

    Nor has one that may not be used: in a user namespace only nft's kind may.
    """
    try:
        return any(iptables.present(of).chains for of in iptables.families)
    except (FirewallFailed, NotPermitted):
        return False


def _table_of_ours() -> str:
    """Our table as nft lists it; empty if there is none, or no nft."""
    command = ["nft", "-t", "list", "table", "inet", TABLE]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - nft, with words of our own
    except FileNotFoundError:
        return ""


def _remove(others: Sequence[Iptables], table: str = "") -> None:
    for each in others:
        each.remove_ours()
    if table:
        NftablesFirewall(guards=NoGuards()).remove()


def _refuse_others(others: Sequence[Iptables], table: str = "", *, take_over: bool) -> None:
    """What another backend holds is replaced only if it is ours to take over."""
    if take_over:
        return
    holders = [str(each) for each in others if each.holds_networks()]
    if holds_networks(table):
        holders.append("nftables")
    if holders:
        raise DaemonThere(
            f"{holders[0]} holds published ports of a daemon that doesn't run",
            "start that one, with its --state, or flush its rules",
        )


def _guarded(others: Sequence[Iptables], table: str = "") -> frozenset[Family]:
    """The families in which the host was no router before another backend made it one."""
    return guarded_families(table).union(*(each.guarded() for each in others))

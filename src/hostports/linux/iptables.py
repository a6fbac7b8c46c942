"""The firewall on iptables: chains of our own, one ``iptables-restore`` a family and call.

What a restore does to one table is done at once. Between tables and families there are moments in
which only a part is; where a later part is refused, the earlier ones are made as they were.
"""

import subprocess
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import which
from threading import Lock
from typing import Final

from hostports.core.rules.data import Element, Settings
from hostports.core.rules.iptables import listing
from hostports.core.rules.iptables.items import ITEMS
from hostports.core.rules.iptables.place import place, placed
from hostports.core.rules.iptables.script import (
    Present,
    change_script,
    removal_script,
    whole_script,
)
from hostports.core.rules.iptables.skeleton import TABLES, Jump
from hostports.core.rules.listing import differences, lacking
from hostports.core.rules.settings import needed, networks_of
from hostports.core.rules.state import Delta, RulesState
from hostports.errors import DaemonThere, FirewallFailed, HostportsError, NotPermitted
from hostports.interfaces import Guards
from hostports.linux import sysctl
from hostports.linux.guard import UnrecordedGuards, guarding, stop_forwarding, switched_on
from hostports.linux.programs import Programs
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem, Traffic
from hostports.model.port import SocketAddress

#: Seconds to wait for whoever else is at work with iptables (the lock of iptables-legacy).
LOCK_WAIT_S: Final = 5
#: Of what others did, so much is said: one flush may concern hundreds of chains.
_MOST_TOLD: Final = 10
#: What iptables exits with when the lock wasn't free in time (xtables.h, RESOURCE_PROBLEM).
_LOCKED: Final = 4
_PROGRAMS: Final = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}


class Iptables:
    """The programs of one kind of iptables.

    `variant` is ``-nft`` or ``-legacy`` for one of the two that a host may have, empty for the one
    that its ``iptables`` is. A call waits up to `lock_wait_s` seconds for whoever else is at work.
    """

    def __init__(self, variant: str = "", lock_wait_s: int = LOCK_WAIT_S) -> None:
        self.variant = variant
        self._lock_wait_s = lock_wait_s
        self.programs = Programs()
        # A kernel without IPv6 has no tables for it.
        ipv6 = Path("/proc/sys/net/ipv6").exists()
        self.families = tuple(Family) if ipv6 else (Family.IPV4,)

    def __str__(self) -> str:
        return f"iptables{self.variant}"

    @property
    def told_of(self) -> bool:
        """Whether the kernel tells what others change: of nf_tables it does."""
        return self.variant == "-nft"

    def saved(self, of: Family, *arguments: str) -> str:
        """What iptables-save says. Raises `FirewallFailed` or `NotPermitted`."""
        return self._call([self._program(of, "save"), *arguments])

    def present(self, of: Family) -> Present:
        """What is there of us; raises the same."""
        return listing.present(self.saved(of))

    def holds_networks(self) -> bool:
        """Whether there are chains of some network; raises the same."""
        return any(self.present(of).networks for of in self.families)

    def guarded(self) -> frozenset[Family]:
        """The families that chains of ours guard; raises the same."""
        return frozenset(of for of in self.families if listing.guarded(self.saved(of)))

    def restore(self, of: Family, script: str) -> None:
        """Let iptables-restore carry out a script; raises the same."""
        if script:
            wait = ["--wait", str(self._lock_wait_s)]
            self._call([self._program(of, "restore"), "--noflush", *wait], script)

    def remove_ours(self) -> None:
        """Take all that is ours out of the kernel; users' rules stay, with their chain."""
        for of in self.families:
            saved = self.saved(of)
            user = not listing.user_rules(saved)
            self.restore(of, removal_script(listing.present(saved), user=user))

    def _program(self, of: Family, what: str) -> str:
        return f"{_PROGRAMS[of]}{self.variant}-{what}"

    def _call(self, command: Sequence[str], script: str = "") -> str:
        try:
            done = self.programs.run(command, script)
        except FileNotFoundError:
            raise FirewallFailed(
                f"{command[0]} is not there, so nothing can be published", "install iptables"
            ) from None
        if done.returncode == _LOCKED and "lock" in done.stderr:
            raise FirewallFailed(
                f"another program has kept iptables locked for {self._lock_wait_s} s",
                "find it with `fuser /run/xtables.lock`, and try again",
            )
        if done.returncode:
            raise _translated(command[0], done.stderr, script)
        return done.stdout


class IptablesFirewall:
    """`Firewall` on iptables, in the network namespace of the process.

    All is as with `NftablesFirewall`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        wanted: Sequence[FirewallItem] = (),
        *,
        guards: Guards | None = None,
        take_over: bool = True,
        iptables: Iptables | None = None,
    ) -> None:
        self.iptables = iptables or Iptables()
        self._lock = Lock()
        self._jumps: dict[Family, tuple[Jump, ...]] = {}
        self._guards = guards or UnrecordedGuards()
        # Before anybody is refused, as with nftables.
        guard = self._guards.add(self.iptables.guarded() | switched_on(networks_of(wanted)))
        if not take_over and self.iptables.holds_networks():
            raise DaemonThere(
                f"{self.iptables} holds published ports of a daemon that doesn't run",
                "start that one with its own --state, or remove the chains named HP-...",
            )
        guarding = replace(settings or Settings(), guard=guard)
        self._state = RulesState.holding(wanted, guarding, ITEMS)
        self.rebuild()

    def apply(self, change: FirewallChange) -> None:
        """Make a change, or raise and change nothing."""
        networks = networks_of(change.opened)
        with self._lock, guarding(self._guards, self._state, networks, self._remake):
            delta = self._state.planned(change)
            former = sysctl.write(needed(networks_of(delta.opened)))
            try:
                self._make_on_ours(delta)
            except HostportsError as error:
                sysctl.write(former)
                if not delta.opened:
                    # It is unwanted whatever iptables says: the next rebuild must not open it.
                    self._state.commit(delta)
                self._restore(error)
                raise
            self._state.commit(delta)

    def planned(self, change: FirewallChange) -> list[str]:
        """The lines to iptables-restore by which `apply` would make a change."""
        with self._lock:
            delta = self._state.planned(change)
            left = _Left(self._state, delta)
            return [
                f"{_PROGRAMS[of]}-restore: {line}"
                for of in self.iptables.families
                for line in change_script(of, delta, left).splitlines()
            ]

    def reconfigure(self, settings: Settings) -> None:
        """Make all chains anew by other settings; the guard stays as it is."""
        with self._lock:
            self._remake(self._state.under(settings))

    def rebuild(self, parts: Set[str] = frozenset()) -> None:
        """Make all chains anew, each table at once, whatever became of them.

        If only `parts` were changed, which are places, only the tables that these are in.
        """
        with self._lock:
            self._rebuild(parts)

    def _remake(self, state: RulesState) -> None:
        self._state = state
        self._rebuild()

    def _rebuild(self, parts: Set[str] = frozenset()) -> None:
        sysctl.write(needed(networks_of(self._state.items())))
        self._make_whole(parts)

    def damage(self) -> list[str]:
        """What others did to our chains and what leads to them, in words; found by counting.

        Changes need not wait for it; if there were some meanwhile, it finds nothing.
        """
        with self._lock:
            before = self._wanted()
        saved = self._saved()
        with self._lock:
            if before != self._wanted():
                return []
        jumps = (
            f"the jump to {each.rule.split()[-1]} is missing in IPv{of.value}"
            for of, wanted in self._jumps.items()
            for each in set(wanted).difference(listing.present(saved[of]).jumps)
        )
        led_to = {
            place(of, "filter", name)
            for of, text in saved.items()
            for name in listing.present(text).led_to
        }
        found = _sizes(saved).items()
        there = {name: size for name, size in found if size or name not in led_to}
        return [*sorted(jumps), *differences(before, there)][:_MOST_TOLD]

    def traffic(self) -> Mapping[SocketAddress, Traffic]:
        """What has passed through each open binding by DNAT, by its socket.

        Counting begins anew in tables that are made anew, and where very many ports of a container
        go at once.
        """
        found: dict[SocketAddress, Traffic] = {}
        for of in self.iptables.families:
            found |= listing.traffic(of, self.iptables.saved(of, "--counters"))
        return found

    def listed(self) -> str:
        """Our chains as iptables-save lists them, without counters; empty if none is there."""
        lines = (
            f"{of.value} {line}"
            for of, saved in self._saved().items()
            for line in listing.ours(saved)
        )
        return "\n".join(line.partition(" [")[0] for line in lines)

    def remove(self) -> None:
        """Take all that is ours out of the kernel; users' rules stay, with their chain.

        Forwarding is off again where it was off before us.
        """
        with self._lock:
            stop_forwarding(self._state.settings.guard)
            self.iptables.remove_ours()
            self._guards.remove(self._state.settings.guard)

    def _wanted(self) -> dict[str, int]:
        """How many rules each chain must have, by its place."""
        sizes = self._state.sizes().items()
        return {name: size for name, size in sizes if placed(name)[0] in self.iptables.families}

    def _saved(self) -> dict[Family, str]:
        return {of: self.iptables.saved(of) for of in self.iptables.families}

    def _make_on_ours(self, delta: Delta) -> None:
        """Make a change; if it failed as others have deleted something of ours, on chains anew."""
        try:
            self._make(delta)
        except FirewallFailed:
            if not lacking(self._wanted(), _sizes(self._saved())):
                raise
            self._make_whole()
            self._make(delta)

    def _make(self, delta: Delta) -> None:
        left = _Left(self._state, delta)
        for of in self.iptables.families:
            present = self.iptables.present(of) if networks_of(delta.closed) else Present()
            self.iptables.restore(of, change_script(of, delta, left, present.led_to))

    def _make_whole(self, parts: Set[str] = frozenset()) -> None:
        settings, whole = self._state.settings, self._state.whole()
        for of in self.iptables.families:
            tables = {placed(each)[1] for each in parts if placed(each)[0] is of}
            if tables or not parts:
                spelled = partial(
                    whole_script, of, settings, whole, tables=tables or frozenset(TABLES)
                )
                self._make_of(of, spelled)
                self._jumps[of] = self.iptables.present(of).jumps

    def _make_of(self, of: Family, spelled: Callable[[Present], str]) -> None:
        """Restore by what is there; at once again if somebody has changed that meanwhile."""
        for last in (False, False, True):
            present = self.iptables.present(of)
            try:
                self.iptables.restore(of, spelled(present))
            except FirewallFailed:
                if last or self.iptables.present(of) == present:
                    raise
            else:
                return

    def _restore(self, error: HostportsError) -> None:
        """Make everything as it was before a change that was refused midway."""
        try:
            self._make_whole()
        except HostportsError as again:
            error.add_note(f"what was there before could not be made again: {again}")


def _sizes(saved: Mapping[Family, str]) -> dict[str, int]:
    """How many rules each chain of ours has, by its place."""
    return {
        name: size for of, text in saved.items() for name, size in listing.sizes(of, text).items()
    }


class _Left:
    """The elements of a chain that stay when a delta has been made; found when first asked for."""

    def __init__(self, state: RulesState, delta: Delta) -> None:
        self._state = state
        self._delta = delta
        self._by_chain: dict[str, list[Element]] | None = None

    def __call__(self, chain: str) -> list[Element]:
        if self._by_chain is None:
            removed = set(self._delta.removed)
            self._by_chain = {}
            for each in self._state.whole().added:
                if each not in removed:
                    self._by_chain.setdefault(each.collection, []).append(each)
        return self._by_chain.get(chain, [])


def _translated(program: str, stderr: str, script: str) -> FirewallFailed | NotPermitted:
    """What iptables says, in one line, with the line of the script that it names."""
    if "Permission denied" in stderr or "you must be root" in stderr:
        return NotPermitted(f"{program} may not change the firewall", "run as root")
    first = next((line for line in stderr.splitlines() if line.strip()), "no reason given")
    return FirewallFailed(f"{program} refuses: {first.strip()}{_quoted(first, script)}")


def _quoted(message: str, script: str) -> str:
    """The line that a message names by its number."""
    number = message.rpartition("line ")[2].split()[0] if "line " in message else ""
    with suppress(ValueError, IndexError):
        return f": {script.splitlines()[int(number.strip(':')) - 1]}"
    return ""


def hosts_own() -> Iptables:
    """The kind that the host's own rules are made with: what its ``iptables`` says that it is."""
    with suppress(FileNotFoundError):
        command = ["iptables", "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - iptables
        for variant, name in (("-legacy", "(legacy)"), ("-nft", "(nf_tables)")):
            if name in said and which(f"iptables{variant}-restore"):
                return Iptables(variant)
    return Iptables()


def installed() -> list[Iptables]:
    """The kinds of iptables that a host has."""
    return [Iptables(each) for each in ("-nft", "-legacy") if which(f"iptables{each}-restore")]

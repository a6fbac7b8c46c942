"""The firewall on nftables: one table of our own, one transaction a call, by ``nft -f -``.

libnftables in this process would abort at descriptor 1024 (it calls select(2)), and a daemon that
holds sockets has more; so nft runs as a process of its own.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from threading import Lock
from typing import Final

from hostports.core.rules.data import Settings
from hostports.core.rules.listing import (
    counted,
    differences,
    guarded_families,
    holds_networks,
    lacking,
    our_table,
    present_objects,
    sizes,
)
from hostports.core.rules.nft import (
    TableObject,
    change_script,
    emptying_script,
    ports_script,
    protecting_script,
    removal_script,
)
from hostports.core.rules.settings import needed, networks_of
from hostports.core.rules.skeleton import LEADING, TABLE, USER_CHAIN
from hostports.core.rules.state import Delta, RulesState
from hostports.errors import DaemonThere, FirewallFailed, HostportsError, NotPermitted
from hostports.interfaces import Guards
from hostports.linux import sysctl
from hostports.linux.guard import UnrecordedGuards, guarding, stop_forwarding, switched_on
from hostports.linux.programs import Programs
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem, Traffic
from hostports.model.port import SocketAddress

#: Ubuntu 22.04's; older ones don't know all that the rules say.
OLDEST_NFT: Final = (1, 0, 2)

_VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


class NftablesFirewall:
    """`Firewall` on nftables, in the network namespace of the process.

    Where the host is no router until a network makes it one, it is guarded: only what is ours is
    forwarded, as in families that `guards` remember. What is `wanted` is open from the first
    moment on, so that a restart closes nothing. A table that holds networks is replaced only if it
    is ours to `take_over`; else `DaemonThere` is raised. Raises `FirewallFailed` if nft is missing
    or too old.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        wanted: Sequence[FirewallItem] = (),
        *,
        guards: Guards | None = None,
        take_over: bool = True,
        nft: str = "nft",
    ) -> None:
        self._nft = nft
        self._guards = guards or UnrecordedGuards()
        self._lock = Lock()
        self.programs = Programs()
        #: What is empty and would be gone, but for rules of others that lead there.
        self._kept: frozenset[str] = frozenset()
        self._refuse_old_nft()
        listed = self._listed()
        # Whether forwarding is on doesn't tell who switched it on; the table of before does. It is
        # remembered before anybody is refused, who may then delete that table.
        guard = self._guards.add(guarded_families(listed) | switched_on(networks_of(wanted)))
        if holds_networks(listed) and not take_over:
            raise DaemonThere(
                f"table inet {TABLE} holds published ports of a daemon that doesn't run",
                f"start that one, or forget them: nft delete table inet {TABLE}",
            )
        guarded = replace(settings or Settings(), guard=guard)
        self._state = RulesState.holding(wanted, guarded)
        self.rebuild()

    def apply(self, change: FirewallChange) -> None:
        """Make a change in one transaction, or raise and change nothing."""
        networks = networks_of(change.opened)
        with self._lock, guarding(self._guards, self._state, networks, self._remake):
            delta = self._state.planned(change)
            former = sysctl.write(needed(networks_of(delta.opened)))
            if not delta.empty:
                try:
                    self._make(delta)
                except HostportsError:
                    sysctl.write(former)
                    if not delta.opened:
                        # It is unwanted whatever nft says: the next rebuild must not open it again.
                        self._state.commit(delta)
                    raise
            self._state.commit(delta)

    def planned(self, change: FirewallChange) -> list[str]:
        """The commands to nft by which `apply` would make a change."""
        with self._lock:
            return change_script(self._state.planned(change)).splitlines()

    def reconfigure(self, settings: Settings) -> None:
        """Make the whole table anew by other settings; the guard stays as it is."""
        with self._lock:
            self._remake(self._state.under(settings))

    def rebuild(self, parts: Set[str] = frozenset()) -> None:
        """Make the whole table anew, in one transaction, whatever became of it.

        If it is large, what protects comes before, in one of its own, which takes milliseconds.
        What leads to ports is made anew as far as it is in `parts`, if these are all that was
        changed.
        """
        with self._lock:
            self._rebuild(parts)

    def _remake(self, state: RulesState) -> None:
        self._state = state
        self._rebuild()

    def _rebuild(self, parts: Set[str] = frozenset()) -> None:
        sysctl.write(needed(networks_of(self._state.items())))
        try:
            self._refill(parts)
        except FirewallFailed:  # somebody has turned something of it into something else
            # One by one: a table that sleeps doesn't wake up in a transaction with other changes,
            # and nft 1.0.6 doesn't know a set that is deleted and made in one script for a new one.
            self.run(f"add table inet {TABLE}\n")
            self._remove(self._present())
            self._refill(frozenset())

    def _refill(self, parts: Set[str]) -> None:
        """Empty and fill what is wanted, and last, remove what nobody wants."""
        state, wanted = self._state, self._state.sizes().keys()
        known = parts and parts <= wanted
        leading = parts & LEADING if known else LEADING
        script = protecting_script(state.settings, state.protections())
        if state.many:  # to spell them takes longer than to run what protects
            self.run(script)
            script = ""
        if leading:
            script += ports_script(state.whole(), leading)
        self.run(script)
        if not known:
            self._remove([each for each in self._present() if each.name not in wanted])

    def _remove(self, unwanted: Sequence[TableObject]) -> None:
        try:
            self.run(removal_script(unwanted))
        except FirewallFailed:  # a rule of somebody else's leads there: that stays, without rules
            self.run(emptying_script(unwanted))
            self._kept |= {each.name for each in unwanted if not self._removed(each)}

    def _removed(self, unwanted: TableObject) -> bool:
        try:
            self.run(removal_script([unwanted]))
        except FirewallFailed:
            return False
        return True

    def _make(self, delta: Delta) -> None:
        """Make a change, also where others have deleted something of ours, or lead to it."""
        try:
            self.run(change_script(delta))
        except FirewallFailed:
            if lacking(self._state.sizes(), sizes(self.listed())):
                self._rebuild()
                self.run(change_script(delta))
            elif delta.removed_chains:
                self.run(change_script(replace(delta, removed_chains=())))
                self._remove([TableObject("chain", name) for name in delta.removed_chains])
            else:
                raise

    def damage(self) -> list[str]:
        """What others did to the table, in words; found by counting, so not what they replaced.

        Changes need not wait for it; if there were some meanwhile, it finds nothing.
        """
        before = self._sizes()
        listed = self.listed()
        if before != self._sizes():
            return []
        if not listed:
            return [f"table inet {TABLE} is missing"]
        found = sizes(listed).items()
        return differences(
            before, {name: size for name, size in found if size or name not in self._kept}
        )

    def _sizes(self) -> dict[str, int]:
        with self._lock:
            return self._state.sizes()

    def traffic(self) -> dict[SocketAddress, Traffic]:
        """What has passed through each open binding by DNAT, by its socket, since it was opened.

        Nothing, if somebody has deleted our table.
        """
        found: dict[SocketAddress, Traffic] = {}
        if not self._listed():
            return found
        for of in Family:
            for which in ("", "_any"):
                for socket, connections, _ in self._counted("map", f"dnat{which}{of}", of):
                    found[socket] = Traffic(connections)
                for socket, packets, size in self._counted("set", f"traffic{which}{of}", of):
                    if socket in found:  # else it has just been opened
                        found[socket] = replace(found[socket], packets=packets, bytes=size)
        return found

    def listed(self) -> str:
        """Our table as nft lists it, without counters; empty if it isn't there."""
        return self._call("-s", "list", "table", "inet", TABLE) if self._listed() else ""

    def remove(self) -> None:
        """Take all that is ours out of the kernel; a table with user rules stays with these.

        Forwarding is off again where it was off before us.
        """
        with self._lock:
            stop_forwarding(self._state.settings.guard)
            if present := self._present():
                self._remove(present)
                if not self._users():
                    self.run(f"delete table inet {TABLE}\n")
            self._guards.remove(self._state.settings.guard)

    def _listed(self) -> str:
        """The same without elements, which may be many.

        For a list of tables, or of one of them, nft 1.0.6 reads all elements nevertheless.
        """
        return our_table(self._call("-t", "list", "ruleset", "inet"))

    def _present(self) -> list[TableObject]:
        return present_objects(self._listed())

    def _users(self) -> bool:
        """Whether users have rules, chains or sets of their own in the table."""
        chain = self._call("list", "chain", "inet", TABLE, USER_CHAIN)
        return self._present() != [("chain", USER_CHAIN)] or bool(
            re.search(r"^\t\t\S", chain, re.MULTILINE)
        )

    def _counted(
        self, kind: str, name: str, of: Family
    ) -> Iterator[tuple[SocketAddress, int, int]]:
        return counted(self._call("list", kind, "inet", TABLE, name), of)

    def run(self, script: str) -> None:
        """Let nft carry out a script, all or nothing. Raises `FirewallFailed` or `NotPermitted`."""
        if script:
            self._call("-f", "-", script=script)

    def _call(self, *arguments: str, script: str = "") -> str:
        try:
            done = self.programs.run([self._nft, *arguments], script)
        except FileNotFoundError:
            raise FirewallFailed(
                f"{self._nft} is not there, so nothing can be published", "install nftables"
            ) from None
        if done.returncode:
            raise _translated(done.stderr)
        return done.stdout

    def _refuse_old_nft(self) -> None:
        version = _VERSION.search(self._call("--version"))
        if version and tuple(map(int, version.groups())) < OLDEST_NFT:
            wanted = ".".join(map(str, OLDEST_NFT))
            raise FirewallFailed(
                f"nft {version.group().lstrip('v')} is too old",
                f"install nftables {wanted} or later",
            )


def _translated(stderr: str) -> FirewallFailed | NotPermitted:
    """What nft says, in one line: its first error, without the script that it quotes."""
    if "Operation not permitted" in stderr:
        return NotPermitted("nft may not change the firewall", "run as root or with CAP_NET_ADMIN")
    first = next((line for line in stderr.splitlines() if "Error:" in line), stderr.strip())
    return FirewallFailed(f"nft refuses: {first.partition('Error:')[2].strip() or first}")

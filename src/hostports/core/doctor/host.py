"""A host's condition, read: its ruleset, its own addresses, and where clients come from."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Final

from hostports.core.doctor import iptables, nft
from hostports.core.doctor.ruleset import Ruleset, Table, Tool
from hostports.core.rules.iptables.place import OURS
from hostports.core.rules.settings import FORWARDING, of_interface
from hostports.core.rules.skeleton import TABLE
from hostports.model.address import Family, IPAddress, IPNetwork, family
from hostports.model.condition import Condition, IPInterface, OurFirewall
from hostports.model.port import PortBinding

_NAMES: Final = {Family.IPV4: "ip", Family.IPV6: "ip6"}
#: Somebody on the internet (RFC 5737, RFC 3849).
_FAR: Final = {Family.IPV4: "203.0.113.77", Family.IPV6: "2001:db8::77"}


@dataclass(frozen=True, slots=True)
class Client:
    """Where a client is: its address, and the interface by which its packets come."""

    interface: str
    ip: IPAddress


class Host:
    """What the evaluation asks of a condition, each read once. Raises `ValueError` on no JSON."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.ruleset = Ruleset(tuple(_tables(condition)))
        self.addresses: Set[IPAddress] = {
            each.ip for some in condition.interfaces.values() for each in some
        }

    def missing(self) -> str:
        """What should be there of our rules and isn't, with its verb; empty if all is well."""
        ours = [each for each in self.ruleset.tables if is_ours(each)]
        if self.condition.ours is OurFirewall.NONE or ours:
            return ""
        nftables = self.condition.ours is OurFirewall.NFTABLES
        return f"table inet {TABLE} is" if nftables else "chains of iptables are"

    def others(self) -> Ruleset:
        """All rules but ours; our chains among those of others are empty here."""
        tables = [each for each in self.ruleset.tables if each.name != TABLE]
        return Ruleset([_without_ours(each) for each in tables])

    def forwards(self, of: Family) -> bool:
        """Whether the host is a router."""
        return self.condition.settings.get(FORWARDING[of][-1]) == "1"

    def clients(self, binding: PortBinding, bridges: Set[str]) -> list[Client]:
        """Somebody by each way from outside to a port, whom its allowlist lets in."""
        of = family(binding.socket.ip)
        found = []
        for client in self._clients(of, bridges):
            allowed = _allowed(binding, of)
            found.append(replace(client, ip=allowed) if allowed else client)
        return found

    def client(self, of: Family, bridges: Set[str]) -> Client | None:
        """Somebody outside."""
        return next(self._clients(of, bridges), None)

    def address(self, interface: str, of: Family) -> IPAddress:
        """The host's own address there, which clients of a wildcard write to."""
        own = self.condition.interfaces[interface]
        return next(each.ip for each in own if each.version == of)

    def strict_uplinks(self) -> list[str]:
        """Those by which no client comes: answers would leave by the best one (RFC 3704)."""
        return [
            name
            for name in self.condition.uplinks.get(Family.IPV4, ())[1:]
            if max(self._reverse_path(each) for each in ("all", name)) == "1"
        ]

    def _reverse_path(self, interface: str) -> str:
        return self.condition.settings.get(of_interface(interface, "rp_filter"), "0")

    def _clients(self, of: Family, bridges: Set[str]) -> Iterator[Client]:
        """By interfaces with default routes; without any, by all that lead to other hosts."""
        default = [each for each in self.condition.uplinks.get(of, ()) if each not in bridges]
        barred = {*bridges, *(self.strict_uplinks() if of is Family.IPV4 else ())}
        for name, own in self.condition.interfaces.items():
            addresses = [each for each in own if each.version == of]
            leads = name in default or not default
            if leads and name not in barred and any(map(_global, addresses)):
                yield Client(name, self._somebody(of, addresses, far=bool(default)))

    def _somebody(self, of: Family, own: list[IPInterface], *, far: bool) -> IPAddress:
        """A neighbour where no default route leads to farther clients."""
        if far:
            return type(own[0].ip)(_FAR[of])
        subnet = own[0].network
        others = (ip for ip in _first_hosts(subnet) if ip not in self.addresses)
        return next(others, own[0].ip)


def is_ours(table: Table) -> bool:
    """Whether rules of ours are in a table."""
    return table.name == TABLE or any(each.startswith(OURS) for each in table.chains)


def _without_ours(table: Table) -> Table:
    chains = {
        name: replace(each, rules=[]) if name.startswith(OURS) else each
        for name, each in table.chains.items()
    }
    return replace(table, chains=chains)


def _tables(condition: Condition) -> Iterator[Table]:
    """Tables of iptables-nft, which nft shows, too, are read as their own tool tells them."""
    saved = [
        table
        for each in condition.saved
        for table in iptables.tables(
            each.text,
            _NAMES[each.family],
            Tool.LEGACY if each.legacy else Tool.IPTABLES,
            each.command,
        )
    ]
    own = {(each.family, each.name): each for each in saved if each.tool is Tool.IPTABLES}
    for table in nft.tables(condition.nft, condition.nft_text):
        yield own.get((table.family, table.name), table)
    yield from (each for each in saved if each.tool is Tool.LEGACY)


def _global(of: IPInterface) -> bool:
    return not of.ip.is_link_local and not of.ip.is_loopback


def _first_hosts(subnet: IPNetwork) -> Iterator[IPAddress]:
    for number in range(1, min(subnet.num_addresses, 256)):
        yield subnet[number]


def _allowed(binding: PortBinding, of: Family) -> IPAddress | None:
    """An address of the first source that may come; the second of a subnet is a host's."""
    for source in binding.allow_from:
        if source.version == of:
            return source[1] if source.num_addresses > 1 else source[0]
    return None

"""What lets a packet through where it was stopped: one command, in its owner's own words."""

from typing import Final

from hostports.core.doctor.packet import Packet
from hostports.core.doctor.ruleset import Act, Chain, Step, Table, Tool, Verdict
from hostports.core.doctor.walk import Place
from hostports.core.rules.iptables.place import OURS
from hostports.core.rules.iptables.place import USER_CHAIN as IPTABLES_USER_CHAIN
from hostports.core.rules.skeleton import TABLE, USER_CHAIN

#: Where ufw has rules of users, and what it calls these.
_UFWS: Final = {"input": ("", ""), "forward": ("route ", ""), "output": ("", "out ")}
#: Docker's own chain for its users, which it never changes.
_DOCKERS: Final = "DOCKER-USER"
_FIREWALLD_ZONE: Final = "filter_IN_"


def mend(place: Place, packet: Packet) -> str:
    """The command."""
    table = place.table
    if table.name == TABLE or place.chain.name.startswith(OURS):
        return _ours(place)
    if place.act is Act.TRANSLATE:
        return _other_port(place)
    if table.name == "firewalld" and place.base.hook in ("input", "forward"):
        return _firewalld(place, packet)
    if table.tool is Tool.NFT:
        chain = f"{table.family} {table.name} {place.base.name}"
        return f"nft insert rule {chain} {_nft_match(place, packet)} accept"
    if _has_ufw(table) and place.base.hook in _UFWS and not packet.answer:
        return _ufw(place, packet)
    return _iptables(place, packet)


def _ours(place: Place) -> str:
    if place.rule and place.chain.name == USER_CHAIN:
        return f"nft delete rule inet {TABLE} {USER_CHAIN} handle {place.rule.handle}"
    if place.rule and place.chain.name == IPTABLES_USER_CHAIN:
        return f"{place.table.command} {place.rule.text.replace('-A', '-D', 1)}"
    return "hostports reload"


def _other_port(place: Place) -> str:
    text = place.rule.text if place.rule else place.chain.name
    return f"publish another host port, or take that rule away: {text}"


def _iptables(place: Place, packet: Packet) -> str:
    table = place.table
    named = "" if table.name == "filter" else f" -t {table.name}"
    chain = place.base.name
    if chain == "FORWARD" and Verdict(Act.JUMP, _DOCKERS) in _first_steps(place.base):
        chain = _DOCKERS
    return f"{table.command}{named} -I {chain} {_iptables_match(place, packet)} -j ACCEPT"


def _first_steps(chain: Chain) -> list[Step]:
    """What its rules without conditions do."""
    return [each.steps[0] for each in chain.rules if each.steps]


def _iptables_match(place: Place, packet: Packet) -> str:
    if packet.translated and not _early(place):
        return "-m conntrack --ctstate DNAT"
    if packet.answer and not _early(place):
        return "-m conntrack --ctstate ESTABLISHED"
    if packet.answer:
        return f"-s {packet.source} -p {packet.protocol} --sport {packet.sport}"
    to = f"-d {packet.destination} " if place.base.hook in ("forward", "output") else ""
    return f"{to}-p {packet.protocol} --dport {packet.dport}"


def _nft_match(place: Place, packet: Packet) -> str:
    if packet.translated and not _early(place):
        return "ct status dnat"
    if packet.answer and not _early(place):
        return "ct state established"
    ip = packet.family
    if packet.answer:
        return f"{ip} saddr {packet.source} {packet.protocol} sport {packet.sport}"
    # A rule for one address of many would open the port for that one only.
    forwarded = place.base.hook in ("forward", "output")
    to = f"{ip} daddr {packet.destination} " if forwarded else ""
    return f"{to}{packet.protocol} dport {packet.dport}"


def _early(place: Place) -> bool:
    """Whether connection tracking has not seen the packet there."""
    first = ("ingress", "prerouting", "output")
    return place.base.hook in first and place.base.priority < -200


def _has_ufw(table: Table) -> bool:
    return any(each.startswith(("ufw-", "ufw6-")) for each in table.chains)


def _ufw(place: Place, packet: Packet) -> str:
    """A rule of ufw's; one that denies goes before, as ufw keeps one rule of a kind only."""
    route, out = _UFWS[place.base.hook]
    what = f"{packet.dport}/{packet.protocol}"
    if place.base.hook != "input":
        to = f"to {packet.destination} port {packet.dport}"
        what = f"{out}proto {packet.protocol} from any {to}"
    if "-user-" not in place.chain.name:
        return f"ufw {route}allow {what}"
    denied = "reject" if place.act is Act.REJECT else "deny"
    return f"ufw {route}delete {denied} {what}; ufw {route}prepend allow {what}"


def _firewalld(place: Place, packet: Packet) -> str:
    if place.base.hook == "forward":
        return f"firewall-cmd --permanent --zone=trusted --add-interface={packet.oif} && {_RELOAD}"
    zone = _zone(place)
    named = f" --zone={zone}" if zone else ""
    port = f"--add-port={packet.dport}/{packet.protocol}"
    return f"firewall-cmd --permanent{named} {port} && {_RELOAD}"


_RELOAD: Final = "firewall-cmd --reload"


def _zone(place: Place) -> str:
    """The zone of the interface, by the chain that decided; empty for the default zone."""
    name = place.chain.name.removeprefix(_FIREWALLD_ZONE)
    return name if name != place.chain.name else ""

"""What keeps published ports from being reached on this host, and the mend."""

from collections.abc import Iterable, Iterator
from typing import Final

from hostports.core.rules.settings import FORWARDING
from hostports.errors import HostportsError
from hostports.model.address import Family
from hostports.model.condition import Condition
from hostports.model.event import Finding, Severity
from hostports.model.network import BridgeNetwork
from hostports.model.port import PortBinding

_ACCEPT_NFT: Final = "nft insert rule {chain} ct status dnat accept"
_ACCEPT_IPTABLES: Final = "{command} -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
_COMMANDS: Final = {"ip filter FORWARD": "iptables", "ip6 filter FORWARD": "ip6tables"}


def findings(
    condition: Condition,
    networks: Iterable[BridgeNetwork],
    lost: Iterable[tuple[PortBinding, HostportsError]] = (),
    relay: HostportsError | None = None,
) -> list[Finding]:
    """All there is to say, problems first; one that says so where nothing is wrong.

    `lost` are ports that could not be had, and why; `relay` is why it can't be asked, if it can't.
    """
    found = [*_firewall(condition), *_forwarding(condition, list(networks)), *_others(condition)]
    if relay is not None:
        mend = relay.hint or "restart the daemon"
        found.append(Finding(Severity.PROBLEM, relay.message, mend))
    for binding, error in lost:
        mend = f"{error.hint}; it comes back by itself then, or unpublish it"
        found.append(Finding(Severity.PROBLEM, f"{binding} is lost: {error.message}", mend))
    order = [Severity.PROBLEM, Severity.WARNING, Severity.OK]
    return sorted(found, key=lambda each: order.index(each.severity)) or [
        Finding(Severity.OK, "nothing on this host keeps published ports from being reached")
    ]


def _firewall(condition: Condition) -> Iterator[Finding]:
    if not condition.firewall_there:
        yield Finding(
            Severity.PROBLEM,
            "our table inet hostports is gone, so only the relay serves published ports",
            "hostports reload",
        )


def _forwarding(condition: Condition, networks: list[BridgeNetwork]) -> Iterator[Finding]:
    for of in Family:
        needed = any(each.subnet(of) and not each.internal for each in networks)
        if needed and not condition.forwards.get(of, False):
            yield Finding(
                Severity.PROBLEM,
                f"the host does not forward IPv{of.value}, so only the relay reaches containers",
                f"sysctl -w {FORWARDING[of][-1]}=1",
            )


def _others(condition: Condition) -> Iterator[Finding]:
    for chain in condition.drops:
        command = _COMMANDS.get(chain)
        yield Finding(
            Severity.PROBLEM,
            f"chain {chain} drops what it doesn't accept, also what we forward to containers",
            _ACCEPT_IPTABLES.format(command=command)
            if command
            else _ACCEPT_NFT.format(chain=chain),
        )
    if condition.strict_forward_ports:
        yield Finding(
            Severity.PROBLEM,
            "firewalld drops what is forwarded to our published ports (StrictForwardPorts=yes)",
            "publish with --mode relay and open the ports with `firewall-cmd --add-port`, "
            "or set StrictForwardPorts=no in /etc/firewalld/firewalld.conf",
        )
    if condition.legacy_tables:
        yield Finding(
            Severity.WARNING,
            "iptables-legacy has rules on this host, which may drop what we forward",
            "look at `iptables-legacy -S FORWARD`, or publish with --mode relay",
        )

"""The rulesets whose text is kept: a matrix of networks, with and without the relay.

``python -m tests.golden.rulesets`` writes the files anew.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from hostports import BridgeNetwork, Endpoint, GatewayMode, PortBinding, Protocol
from hostports.core.rules.data import Element, Settings
from hostports.core.rules.iptables import script
from hostports.core.rules.iptables.items import ITEMS
from hostports.core.rules.nft import change_script, protecting_script
from hostports.core.rules.state import Delta, RulesState
from hostports.model.address import Family
from hostports.model.firewall import FirewallChange, FirewallItem
from hostports.model.port import PublishMode

GOLDEN = Path(__file__).parent
SETTINGS = {
    "relay": Settings(relay=True, guard=frozenset(Family)),
    "hairpin": Settings(relay=False),
    "direct-routing": Settings(direct_routing=True),
}

_NAT = BridgeNetwork(
    "nat",
    bridge="br0",
    subnet_ipv4=IPv4Network("172.30.0.0/24"),
    subnet_ipv6=IPv6Network("fd30::/64"),
)


def _with_mode(mode: GatewayMode) -> BridgeNetwork:
    return replace(_NAT, gateway_mode_ipv4=mode, gateway_mode_ipv6=mode)


NETWORKS = {
    "nat": _NAT,
    "ipv4-only": replace(_NAT, subnet_ipv6=None),
    "ipv6-only": replace(_NAT, subnet_ipv4=None),
    "unprotected": _with_mode(GatewayMode.NAT_UNPROTECTED),
    "routed": _with_mode(GatewayMode.ROUTED),
    "routed-ipv6": replace(_NAT, gateway_mode_ipv6=GatewayMode.ROUTED),
    "isolated": replace(_with_mode(GatewayMode.ISOLATED), internal=True),
    "internal": replace(_NAT, internal=True),
    "internal-no-icc": replace(_NAT, internal=True, icc=False),
    "no-icc": replace(_NAT, icc=False),
    "no-masquerade": replace(_NAT, masquerade=False, trusted_host_interfaces=("tun+",)),
    "snat": replace(_NAT, host_ipv4=IPv4Address("192.0.2.1"), host_ipv6=IPv6Address("2001:db8::1")),
    "ports-only": replace(
        _NAT,
        subnet_ipv4=None,
        subnet_ipv6=None,
        masquerade=False,
        existing=True,
        ports_only=True,
    ),
    "trusted": replace(_NAT, trusted_host_interfaces=("wg0", "tun+")),
}


def ruleset(name: str, settings: Settings) -> str:
    """The script that adds one network with an endpoint and ports of every kind."""
    return change_script(RulesState(settings).planned(FirewallChange(opened=tuple(_items(name)))))


def _items(name: str) -> list[FirewallItem]:
    network = NETWORKS[name]
    web = Endpoint(
        "web",
        network,
        IPv4Address("172.30.0.2") if network.subnet_ipv4 or network.ports_only else None,
        IPv6Address("fd30::2") if network.subnet_ipv6 or network.ports_only else None,
    )
    return [network, web, *_bindings(web)]


def skeleton(settings: Settings) -> str:
    """The script for a table without networks."""
    return protecting_script(settings, Delta())


def iptables_ruleset(name: str, settings: Settings) -> str:
    """The scripts that add the same for both families."""
    delta = RulesState(settings, ITEMS).planned(FirewallChange(opened=tuple(_items(name))))
    return "".join(f"# IPv{of}\n{script.change_script(of, delta, _nothing)}" for of in Family)


def iptables_skeleton(settings: Settings) -> str:
    """The scripts for chains without networks."""
    whole = (script.whole_script(of, settings, Delta(), script.Present()) for of in Family)
    return "".join(f"# IPv{of}\n{text}" for of, text in zip(Family, whole, strict=True))


def _nothing(_: str) -> list[Element]:
    """What stays in a chain where nothing is removed: nobody asks."""
    return []


def texts() -> dict[str, str]:
    """Every golden text for nft by its file's name."""
    return _matrix(skeleton, ruleset)


def iptables_texts() -> dict[str, str]:
    """Every golden text for iptables by its file's name."""
    return _matrix(iptables_skeleton, iptables_ruleset)


def _matrix(
    empty: Callable[[Settings], str], filled: Callable[[str, Settings], str]
) -> dict[str, str]:
    found = {}
    for how, settings in SETTINGS.items():
        found[f"skeleton-{how}"] = empty(settings)
        found |= {f"{name}-{how}": filled(name, settings) for name in NETWORKS}
    return found


def _bindings(web: Endpoint) -> list[PortBinding]:
    sources = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    made = []
    for host_ip, container_ip in (("0.0.0.0", web.ipv4), ("::", web.ipv6)):
        if container_ip is None:
            continue
        plain = PortBinding(
            web.network.name, "web", Protocol.TCP, ip_address(host_ip), 8080, container_ip, 80
        )
        one, loopback = ("192.0.2.1", "127.0.0.1") if plain.host_ip.version == 4 else ("::2", "::1")
        made += [
            plain,
            replace(plain, host_port=8081),
            replace(plain, host_port=8082, host_ip=ip_address(one)),
            replace(plain, host_port=8083, host_ip=ip_address(loopback)),
            replace(plain, host_port=8084, allow_from=sources),
            replace(plain, host_port=8085, mode=PublishMode.RELAY),
            replace(plain, host_port=0, container_port=443),
            replace(plain, host_port=5353, protocol=Protocol.UDP, container_port=53),
        ]
    return made


def main() -> None:
    """Write every golden file."""
    for kind, written in (("nft", texts()), ("iptables", iptables_texts())):
        for name, text in written.items():
            (GOLDEN / f"{name}.{kind}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

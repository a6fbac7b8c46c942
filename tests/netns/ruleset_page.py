"""``docs/ruleset.md``: the whole ruleset as a live namespace shows it, each line with its reason.

``python -m tests.netns.ruleset_page`` writes it anew; a test says when it is out of date.
"""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.core.rules.skeleton import collections
from hostports.linux.nftables import NftablesFirewall
from hostports.model.firewall import FirewallChange
from tests.netns.namespaces import namespace, nft

PAGE = Path(__file__).parents[2] / "docs" / "ruleset.md"

NETWORK = BridgeNetwork(
    "lab",
    bridge="br0",
    subnet_ipv4=IPv4Network("172.30.0.0/24"),
    subnet_ipv6=IPv6Network("fd30::/64"),
    trusted_host_interfaces=("tun+",),
)
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), IPv6Address("fd30::2"))
_IPV4 = PortBinding(
    "lab", "web", Protocol.TCP, IPv4Address("0.0.0.0"), 8080, IPv4Address("172.30.0.2"), 80
)
_IPV6 = replace(_IPV4, host_ip=IPv6Address("::"), container_ip=IPv6Address("fd30::2"))
_LOOPBACK = replace(_IPV4, host_ip=IPv4Address("127.0.0.1"), host_port=8081)
_LIMITED = replace(_IPV4, host_port=8082, allow_from=(ip_network("192.0.2.0/24"),))

HEAD = """# The ruleset

All rules are in one table of ours, `inet hostports`. What grows with endpoints and published ports
is in sets and maps, so that a packet costs the same with ten ports or sixty thousand; a network
adds chains that only its own packets meet. Other tables are never touched, and the chain `user` is
yours: it is jumped to first, and what you put there stays.

This page is made by `make docs` from a live network namespace ({version}), and a test says when it
is out of date. See [firewall.md](firewall.md) for how the pieces work together.

## Sets and maps

| name | keys and values | holds |
| --- | --- | --- |
"""

EXAMPLE = """
## The relay on

One bridge network `br0` with 172.30.0.0/24 and fd30::/64, `tun+` trusted; one endpoint; and the
ports `-p 8080:80`, `-p 127.0.0.1:8081:80`, and `-p 0.0.0.0:8082:80` for 192.0.2.0/24 only. The host
was no router before. Each rule's comment is its reason. Sets and maps that are empty are left out.

```nft
"""

HAIRPIN = """```

## The relay off (hairpin)

The same; only the chains that differ are shown.

```nft
"""


def page() -> str:
    """The page's text."""
    rows = [f"| `{each.name}` | `{each.type}` | {each.why} |\n" for each in collections()]
    relay, hairpin = _table(Settings(relay=True)), _table(Settings(relay=False))
    chains = [block for block in _blocks(hairpin) if block not in relay and "chain" in block]
    version = nft("--version").split(" (")[0]
    head = HEAD.format(version=version.strip())
    return f"{head}{''.join(rows)}{EXAMPLE}{relay}{HAIRPIN}{''.join(chains)}```\n"


def _table(settings: Settings) -> str:
    """The table of a fresh namespace, without the sets and maps that are empty."""
    with namespace() as host, host.entered():
        firewall = NftablesFirewall(settings)
        opened = (NETWORK, WEB, _IPV4, _IPV6, _LOOPBACK, _LIMITED)
        firewall.apply(FirewallChange(opened=opened))
        return "".join(each for each in _blocks(firewall.listed()) if not _is_empty(each))


def _blocks(table: str) -> list[str]:
    """The sets, maps and chains of a table, each with the empty line before it."""
    return re.findall(r"\n?\t(?:set|map|chain) .*?\n\t\}\n", table, re.DOTALL)


def _is_empty(block: str) -> bool:
    return "chain" not in block.split(maxsplit=1)[0] and "elements" not in block


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

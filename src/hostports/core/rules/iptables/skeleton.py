"""What every ruleset has, however many ports are published: chains, and jumps to them.

Hooks by priority: raw -300, connection tracking -200, mangle -150, destination NAT -100, filter 0,
source NAT 100. So an allowlist in mangle meets a new connection's first packet before DNAT.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hostports.core.rules.data import Chain, Rule, Settings
from hostports.core.rules.iptables.place import OURS, USER_CHAIN, place
from hostports.core.rules.skeleton import GUARD
from hostports.model.address import Family

#: In the order in which rules come: what forbids is there before what leads to ports.
TABLES: Final = ("raw", "filter", "mangle", "nat")
#: A comment's words; iptables-save puts them in quotes.
GUARD_COMMENT: Final = f'-m comment --comment "{GUARD}"'

EARLY, SOURCES, TRAFFIC, PUBLISH, OUT = (
    f"{OURS}{name}" for name in ("EARLY", "SOURCES", "TRAFFIC", "PUBLISH", "OUT")
)
FORWARD, FROM, TO, BRIDGES, ISOLATED, REACH_OUT = (
    f"{OURS}{name}" for name in ("FORWARD", "FROM", "TO", "BRIDGES", "ISOLATED", "REACH-OUT")
)

_LOOPBACK: Final = {Family.IPV4: "127.0.0.0/8", Family.IPV6: "::1/128"}
#: A link-local source can't leave its link; the relay serves it.
_ROUTABLE: Final = {Family.IPV4: "", Family.IPV6: "! -s fe80::/10 "}
_DNATED: Final = "-m conntrack --ctstate DNAT"
_NEW: Final = "-m conntrack --ctstate NEW"
_LOCAL: Final = "-m addrtype --dst-type LOCAL"


class Jump(NamedTuple):
    """A rule of ours in a chain of iptables' own, where it stands first."""

    table: str
    chain: str
    rule: str


def jumps(of: Family) -> tuple[Jump, ...]:
    """The ways from iptables' own chains to ours."""
    return (
        Jump("raw", "PREROUTING", f"-j {EARLY}"),
        Jump("mangle", "PREROUTING", f"{_NEW} -j {SOURCES}"),
        Jump("mangle", "OUTPUT", f"{_NEW} -j {SOURCES}"),
        Jump("mangle", "POSTROUTING", f"{_DNATED} -j {TRAFFIC}"),
        Jump("mangle", "INPUT", f"{_DNATED} -j {TRAFFIC}"),
        # Host addresses only: transit traffic is not ours.
        Jump("nat", "PREROUTING", f"{_ROUTABLE[of]}{_LOCAL} -j {PUBLISH}"),
        # A loopback source can't leave the host; the relay serves it.
        Jump("nat", "OUTPUT", f"{_ROUTABLE[of]}! -d {_LOOPBACK[of]} {_LOCAL} -j {PUBLISH}"),
        Jump("nat", "POSTROUTING", f"-j {OUT}"),
        Jump("filter", "FORWARD", f"-j {FORWARD}"),
    )


def chains(of: Family, settings: Settings) -> Iterator[Chain]:
    """The chains that are always there: those with rules of their own, and those of items' rules.

    No chain has both, for the latter may be emptied and filled again.
    """
    empty = (
        *(("raw", EARLY), ("mangle", SOURCES), ("mangle", TRAFFIC), ("nat", PUBLISH), ("nat", OUT)),
        *(("filter", name) for name in (FROM, TO, BRIDGES, REACH_OUT)),
    )
    yield from (Chain(place(of, *each), ()) for each in empty)
    isolated = (
        Rule(f"{_DNATED} -j RETURN", "published ports are for other networks, too"),
        Rule("-j DROP", "another network's containers"),
    )
    yield Chain(place(of, "filter", ISOLATED), isolated)
    yield Chain(place(of, "filter", FORWARD), tuple(_forward(of, settings)))


def _forward(of: Family, settings: Settings) -> Iterator[Rule]:
    yield Rule(f"-j {USER_CHAIN}", "the user's own rules come first")
    yield Rule(f"-j {FROM}", "what leaves a bridge")
    yield Rule(f"-j {TO}", "what enters a bridge")
    yield Rule(f"-j {REACH_OUT}", "containers reach out")
    if of in settings.guard:
        yield Rule(f"{GUARD_COMMENT} -j DROP", GUARD)

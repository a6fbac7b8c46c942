"""What every ruleset has, however many ports are published: collections, and chains that look up.

Priorities: -300 is before connection tracking (raw), -200 is connection tracking, -100 destination
NAT, 0 filter, 100 source NAT (nft(8), "Priority names"); ``dstnat`` is no name in the output hook
before nft 1.0.7. No chain may be called ``fwd``, a keyword.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from hostports.core.rules.data import Chain, Collection, Rule, Settings

TABLE: Final = "hostports"

#: The users' own chain, the counterpart of DOCKER-USER: jumped to first, never touched by us.
USER_CHAIN: Final = "user"

#: Why the guard's rules are there; by this they are known again.
GUARD: Final = "the host was no router before: only what is ours"

_PROTOCOLS: Final = "meta l4proto { tcp, udp, sctp }"
_PORT: Final = "meta l4proto . th dport"
_IP: Final = {"4": "ip", "6": "ip6"}


def collections() -> tuple[Collection, ...]:
    """All sets and maps; the same for every setting, so that changing one moves no element."""
    of_families = (
        each
        for number, address in (("4", "ipv4_addr"), ("6", "ipv6_addr"))
        for each in _of_family(number, address)
    )
    bridges = (
        ("bridges", "set", "ifname", "our bridges"),
        ("from_bridge", "map", "ifname : verdict", "a bridge's chain for what leaves it"),
        ("to_bridge", "map", "ifname : verdict", "a bridge's chain for what enters it"),
        ("hairpin", "map", "ifname : verdict", "a bridge's chain for its own published ports"),
    )
    loopback = "published on an address of 127.0.0.0/8"
    return (
        *of_families,
        Collection("loopback4", "set", "ipv4_addr . inet_proto . inet_service", loopback),
        *(Collection(*each) for each in bridges),
    )


def _of_family(number: str, address: str) -> Iterator[Collection]:
    port = "inet_proto . inet_service"
    both = (f"{address} . {port}", port)
    one, any_ip = "one host address", "any host address"
    for suffix, key, where in ((number, both[0], one), (f"_any{number}", both[1], any_ip)):
        to = f"{key} : {address} . inet_service"
        why = f"where a port published on {where} leads; counts connections"
        yield Collection(f"dnat{suffix}", "map", to, why, "counter")
        why = f"packets and bytes, both ways, of a port published on {where}"
        yield Collection(f"traffic{suffix}", "set", key, why, "counter")
        why = f"ports published on {where}, with their bridge, whose containers meet the relay"
        yield Collection(f"own{suffix}", "set", f"ifname . {key}", why)
        why = f"ports published on {where} for some sources only"
        yield Collection(f"limited{suffix}", "set", key, why)
        why = f"these sources, for ports published on {where}"
        yield Collection(f"allowed{suffix}", "set", f"{key} . {address}", why, "flags interval")
    verdict, interval = f"{address} : verdict", "flags interval"
    yield Collection(f"open{number}", "set", both[0], "container ports that may be reached")
    why = "container addresses that other hosts may not reach"
    yield Collection(f"protected{number}", "map", verdict, why)
    yield Collection(
        f"subnet{number}", "map", verdict, "a subnet's chain for what leaves", interval
    )


#: Collections that lead to published ports, and grow with them. All others forbid, or are small.
LEADING: Final = frozenset(
    f"{what}{of}"
    for what in ("dnat", "dnat_any", "traffic", "traffic_any", "own", "own_any", "open")
    for of in "46"
)

#: How the names of a network's own chains begin; the bridge's name follows.
NETWORK_CHAINS: Final = ("from_", "to_", "nat_", "hairpin_", "direct_")


def is_ours(name: str) -> bool:
    """Whether a chain, set or map of the table is ours by its name; all others are the users'.

    Rules in the users' chain may jump to chains and look into sets of their own, which can only be
    in the same table. A version that has other names than the one before knows these, too.
    """
    return name in _static_names() or name.startswith(NETWORK_CHAINS)


@lru_cache
def _static_names() -> frozenset[str]:
    ours = {each.name for each in chains(Settings())} | {each.name for each in collections()}
    return frozenset(ours - {USER_CHAIN})


_EARLY: Final = (
    Rule(
        'iifname != "lo" ip daddr . meta l4proto . th dport @loopback4 counter drop',
        "published on loopback: never for other hosts",
    ),
    Rule("ip daddr vmap @protected4", "container addresses: only from their bridge or trusted"),
    Rule("ip6 daddr vmap @protected6", "container addresses: only from their bridge or trusted"),
)
_ISOLATED: Final = (
    Rule("ct status dnat return", "published ports are for other networks, too"),
    Rule("counter drop", "another network's containers"),
)
_NAT_IN: Final = (
    Rule("fib daddr type local jump publish", "host addresses only: transit traffic is not ours"),
)
_COUNT: Final = (Rule("ct status dnat jump traffic", "only packets of published ports"),)


def chains(settings: Settings) -> tuple[Chain, ...]:
    """The chains that every packet may meet; those that are jumped to come first."""
    raw, sources, nat = "priority -300", "priority -110", "priority -100"
    return (
        Chain(USER_CHAIN, ()),
        Chain("publish", tuple(_publish(settings))),
        Chain("sources", tuple(_sources())),
        Chain("traffic", tuple(_traffic())),
        Chain("isolated", _ISOLATED),
        Chain("early", _EARLY, f"type filter hook prerouting {raw}"),
        Chain("sources_in", _sources_hook("outside"), f"type filter hook prerouting {sources}"),
        Chain("sources_local", _sources_hook("the host"), f"type filter hook output {sources}"),
        Chain("nat_in", _NAT_IN, f"type nat hook prerouting {nat}"),
        Chain("nat_local", tuple(_nat_local()), f"type nat hook output {nat}"),
        Chain("traffic_in", _COUNT, "type filter hook prerouting priority -90"),
        Chain("traffic_local", _COUNT, "type filter hook output priority -90"),
        Chain("forward", tuple(_forward(settings)), "type filter hook forward priority 0"),
        Chain("nat_out", tuple(_nat_out(settings)), "type nat hook postrouting priority 100"),
    )


def _publish(settings: Settings) -> Iterator[Rule]:
    """Destination NAT: at most one look-up each for a specific and for any host address."""
    if settings.relay:
        why = "a bridge's own containers meet the relay"
        for number, ip in _IP.items():
            yield Rule(f"iifname . {ip} daddr . {_PORT} @own{number} return", why)
            yield Rule(f"{_only(number)} iifname . {_PORT} @own_any{number} return", why)
    yield Rule("ip6 saddr fe80::/10 return", "a link-local source can't leave its link")
    for number, ip in _IP.items():
        dnat = f"dnat {ip} to"
        yield Rule(
            f"{_PROTOCOLS} {dnat} {ip} daddr . {_PORT} map @dnat{number}",
            "published on one address",
        )
        yield Rule(
            f"{_only(number)} {_PROTOCOLS} {dnat} {_PORT} map @dnat_any{number}",
            "published on any address",
        )


def _sources() -> Iterator[Rule]:
    """Before destination NAT, and so also before the relay's sockets."""
    why = "source not in the allowlist"
    for number, ip in _IP.items():
        yield Rule(
            f"{ip} daddr . {_PORT} @limited{number} "
            f"{ip} daddr . {_PORT} . {ip} saddr != @allowed{number} counter drop",
            why,
        )
        yield Rule(
            f"{_only(number)} {_PORT} @limited_any{number} fib daddr type local "
            f"{_PORT} . {ip} saddr != @allowed_any{number} counter drop",
            why,
        )


def _traffic() -> Iterator[Rule]:
    """Look-ups whose elements count; the original tuple is the same in both directions."""
    port = "meta l4proto . ct original proto-dst"
    for number, ip in _IP.items():
        yield Rule(
            f"{_PROTOCOLS} ct original {ip} daddr . {port} @traffic{number} return",
            "count, published on one address",
        )
        yield Rule(
            f"{_only(number)} {_PROTOCOLS} {port} @traffic_any{number}",
            "count, published on any address",
        )


def _forward(settings: Settings) -> Iterator[Rule]:
    yield Rule(f"jump {USER_CHAIN}", "the user's own rules come first")
    yield Rule("iifname vmap @from_bridge", "what leaves a bridge")
    yield Rule("oifname vmap @to_bridge", "what enters a bridge")
    if settings.guard:
        yield Rule("iifname @bridges accept", "containers reach out")
    for of in sorted(settings.guard):
        yield Rule(f"{_only(str(of))} counter drop", GUARD)


def _sources_hook(whose: str) -> tuple[Rule, ...]:
    return (Rule("ct state new jump sources", f"allowlists, for connections of {whose}"),)


def _nat_local() -> Iterator[Rule]:
    why = "a loopback source can't leave the host; the relay serves it"
    yield Rule("ip daddr 127.0.0.0/8 return", why)
    yield Rule("ip6 daddr ::1 return", why)
    yield from _NAT_IN


def _nat_out(settings: Settings) -> Iterator[Rule]:
    if not settings.relay:
        yield Rule("oifname vmap @hairpin", "published ports of a bridge, used from itself")
    yield Rule("ip saddr vmap @subnet4", "what leaves a network")
    yield Rule("ip6 saddr vmap @subnet6", "what leaves a network")


def _only(number: str) -> str:
    """Keeps a rule to one family where nothing else in it does."""
    return f"meta nfproto ipv{number}"

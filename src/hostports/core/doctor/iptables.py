"""What ``iptables-save`` says (iptables-extensions(8)), read into the model.

A match that we don't know makes its rule one that may hold or not; so does an ipset, whose members
nobody tells us.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from typing import Final, TypeAlias

from hostports.core.doctor.ruleset import (
    Act,
    Anything,
    Chain,
    Lookup,
    Match,
    Pattern,
    Rule,
    Span,
    Stem,
    Step,
    Table,
    Tool,
    Unknown,
    Verdict,
)
from hostports.model.address import IPAddress

#: Where the built-in chains are hooked in, and their tables' priorities (netfilter_ipv4.h).
_HOOKS: Final = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "FORWARD": "forward",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}
_PRIORITIES: Final = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_SOURCE_NAT: Final = 100

_TARGETS: Final = {
    "ACCEPT": Act.ACCEPT,
    "DROP": Act.DROP,
    "REJECT": Act.REJECT,
    "RETURN": Act.RETURN,
    "NOTRACK": Act.UNTRACK,
    "DNAT": Act.TRANSLATE,
    "REDIRECT": Act.TRANSLATE,
}
#: Targets that change nothing of a packet's way.
_HARMLESS: Final = {
    *("LOG", "NFLOG", "ULOG", "MASQUERADE", "SNAT", "TCPMSS", "CHECKSUM", "CLASSIFY", "CONNMARK"),
    *("DSCP", "TOS", "TTL", "HL", "SECMARK", "CONNSECMARK", "SET", "TRACE", "NETMAP", "AUDIT"),
}
_NUMBERS: Final = {"6": "tcp", "17": "udp", "132": "sctp", "1": "icmp", "58": "icmpv6"}
#: Options without a value; all others have one at least.
_FLAGS: Final = {"--syn", "--notrack", "--random", "--random-fully", "--persistent", "--nowildcard"}


def tables(saved: str, family: str, tool: Tool, command: str) -> list[Table]:
    """All tables that a save has; `command` is what changes them."""
    found: list[Table] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            found.append(Table(family, line[1:].strip(), tool, command))
        elif line.startswith(":") and found:
            name, policy = line[1:].split()[:2]
            found[-1].chains[name] = _chain(found[-1].name, name, policy)
        elif line.startswith("-A") and found:
            rule, chain = _rule(line, found[-1])
            found[-1].chains[chain].rules.append(rule)
    return found


def _chain(table: str, name: str, policy: str) -> Chain:
    if policy == "-" or name not in _HOOKS:
        return Chain(name)
    hook = _HOOKS[name]
    nat = table == "nat"
    priority = _PRIORITIES.get(table, 0)
    if nat and hook in ("input", "postrouting"):
        priority = _SOURCE_NAT
    return Chain(name, hook, priority, Act.DROP if policy == "DROP" else Act.ACCEPT, nat)


@dataclass(frozen=True, slots=True)
class _Option:
    """An option with its values; `negated` where a ``!`` stands before it."""

    name: str
    values: list[str]
    negated: bool


@dataclass(slots=True)
class _Reading:
    """A rule being read: what it says by option, and which matches of it we know."""

    family: str
    chains: dict[str, Chain]
    steps: list[Step] = field(default_factory=list)
    protocol: str = "th"
    act: str = ""
    jump: str = ""
    options: dict[str, list[str]] = field(default_factory=dict)

    def test(self, key: str, *patterns: Pattern, negated: bool, whole: bool = False) -> None:
        """A condition that we understand."""
        exact = {(each,): None for each in patterns if type(each) in (str, int)}
        loose = [((each,), None) for each in patterns if type(each) not in (str, int)]
        among = Lookup(exact, loose)  # type: ignore[arg-type] # text and numbers, just seen
        self.steps.append(Match((key,), among, negated, whole=whole))


def _rule(line: str, table: Table) -> tuple[Rule, str]:
    reading = _Reading(table.family, table.chains)
    words = shlex.split(line)
    chain = words[1]
    for option in _options(words[2:]):
        reading.options[option.name] = option.values
        _OPTIONS.get(option.name, _unknown)(reading, option)
    return Rule((*reading.steps, *_end(reading)), line), chain


def _options(words: list[str]) -> Iterator[_Option]:
    at, negated = 0, False
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        values = []
        while word not in _FLAGS and at < len(words) and not _begins(words[at]):
            values.append(words[at])
            at += 1
        yield _Option(word, values, negated)
        negated = False


def _begins(word: str) -> bool:
    return word.startswith("-") or word == "!"


_Reader: TypeAlias = Callable[[_Reading, _Option], None]


def _interface(reading: _Reading, option: _Option) -> None:
    key = "meta iifname" if option.name == "-i" else "meta oifname"
    name = option.values[0]
    reading.test(key, Stem(name[:-1]) if name.endswith("+") else name, negated=option.negated)


def _address(reading: _Reading, option: _Option) -> None:
    key = f"{reading.family} {'saddr' if option.name == '-s' else 'daddr'}"
    try:
        network = ip_interface(option.values[0]).network
    except ValueError:  # a mask with holes
        reading.steps.append(Unknown(option.name))
    else:
        reading.test(key, network, negated=option.negated)


def _protocol(reading: _Reading, option: _Option) -> None:
    name = _NUMBERS.get(option.values[0], option.values[0]).replace("ipv6-icmp", "icmpv6")
    if name != "all":
        reading.test("meta l4proto", name, negated=option.negated)
    if not option.negated and name in ("tcp", "udp", "sctp"):
        reading.protocol = name


def _ports(reading: _Reading, option: _Option) -> None:
    field_name = "sport" if option.name.startswith("--s") else "dport"
    key = f"{reading.protocol} {field_name}"
    try:
        spans = [_span(each) for each in option.values[0].split(",")]
    except ValueError:
        reading.steps.append(Unknown(option.name))
        return
    reading.test(key, *spans, negated=option.negated)


def _span(text: str) -> Span:
    first, colon, last = text.partition(":")
    return Span(int(first or 0), int(last or 65535) if colon else int(first))


def _states(reading: _Reading, option: _Option) -> None:
    words = option.values[0].lower().split(",")
    reading.test("ct states", *words, negated=option.negated)


def _type(reading: _Reading, option: _Option) -> None:
    which = "saddr" if option.name.startswith("--src") else "daddr"
    reading.test(f"fib {which} type", *option.values[0].lower().split(","), negated=option.negated)


def _mark(reading: _Reading, option: _Option) -> None:
    if not any(isinstance(each, Unknown) and each.what == "connmark" for each in reading.steps):
        value, _, mask = option.values[0].partition("/")
        among = Lookup({(int(value, 0),): None})
        reading.steps.append(
            Match(("meta mark",), among, option.negated, mask=int(mask, 0) if mask else None)
        )


def _tcp_flags(reading: _Reading, option: _Option) -> None:
    mask, wanted = (
        ("FIN,SYN,RST,ACK", "SYN")
        if option.name == "--syn"
        else (option.values[0], option.values[1])
    )
    among = Lookup({(",".join(sorted(_flags(wanted))),): None})
    reading.steps.append(
        Match(("tcp flags",), among, option.negated, mask=frozenset(_flags(mask)), whole=True)
    )


def _flags(text: str) -> list[str]:
    every = ["fin", "syn", "rst", "psh", "ack", "urg"]
    named = text.lower().split(",")
    return every if named == ["all"] else [each for each in named if each != "none"]


def _packet_type(reading: _Reading, option: _Option) -> None:
    reading.test(
        "meta pkttype", option.values[0].replace("unicast", "host"), negated=option.negated
    )


def _match(reading: _Reading, option: _Option) -> None:
    """What we know by its options says it all by them."""
    if option.values[0] in _EXTENSION_HEADERS:
        reading.test("exthdr", Anything.ANYTHING, negated=False)
    elif option.values[0] not in _KNOWN:
        reading.steps.append(Unknown(option.values[0]))


def _target(reading: _Reading, option: _Option) -> None:
    reading.act, reading.jump = option.values[0], option.name


def _unknown(reading: _Reading, option: _Option) -> None:
    """An option of a target, of a match that is in doubt anyway, or one that we don't know."""
    in_doubt = any(isinstance(each, Unknown) for each in reading.steps)
    if not reading.act and not in_doubt and option.name != "--comment":
        reading.steps.append(Unknown(option.name))


#: What IPv6 packets may have between header and payload, and those of clients don't.
_EXTENSION_HEADERS: Final = {"rt", "frag", "hbh", "dst", "mh", "ah", "esp", "ipv6header"}
_KNOWN: Final = {
    *("tcp", "udp", "sctp", "icmp", "icmp6", "comment", "conntrack", "state", "addrtype"),
    *("multiport", "mark", "pkttype"),
}
_OPTIONS: Final[dict[str, _Reader]] = {
    **dict.fromkeys(("-i", "-o"), _interface),
    **dict.fromkeys(("-s", "-d"), _address),
    "-p": _protocol,
    **dict.fromkeys(("--sport", "--dport", "--sports", "--dports"), _ports),
    **dict.fromkeys(("--ctstate", "--state"), _states),
    **dict.fromkeys(("--src-type", "--dst-type"), _type),
    "--mark": _mark,
    **dict.fromkeys(("--tcp-flags", "--syn"), _tcp_flags),
    "--pkt-type": _packet_type,
    "-m": _match,
    **dict.fromkeys(("-j", "-g"), _target),
}


def _end(reading: _Reading) -> Iterator[Step]:
    """What the rule does in the end."""
    name = reading.act
    if name in reading.chains:
        yield Verdict(Act.GOTO if reading.jump == "-g" else Act.JUMP, name)
    elif name in ("DNAT", "REDIRECT"):
        yield _translation(reading)
    elif name == "MARK":
        yield Verdict(Act.MARK, mark=_new_mark(reading.options))
    elif name == "CT":
        yield Verdict(Act.UNTRACK if "--notrack" in reading.options else Act.NOTHING)
    elif name in _TARGETS:
        yield Verdict(_TARGETS[name])
    elif name and name not in _HARMLESS:
        yield Verdict(Act.HAND_OVER)


def _translation(reading: _Reading) -> Verdict:
    """Where to; without an address the host's own."""
    ports = reading.options.get("--to-ports")
    if ports:
        return Verdict(Act.TRANSLATE, port=int(ports[0].partition("-")[0]))
    text = reading.options.get("--to-destination", [""])[0]
    address, port = _destination(text)
    return Verdict(Act.TRANSLATE, address=address, port=port)


def _destination(text: str) -> tuple[IPAddress | None, int | None]:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``, each without a port, too."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    number = port.lstrip(":")
    try:
        return ip_address(host), int(number) if number.isdecimal() else None
    except ValueError:  # a range of addresses
        return None, None


def _new_mark(options: dict[str, list[str]]) -> int | None:
    """What ``--set-xmark value/mask`` makes of a packet without a mark, if all of it is set."""
    value, _, mask = options.get("--set-xmark", [""])[0].partition("/")
    whole = not mask or int(mask, 0) == 0xFFFFFFFF
    return int(value, 0) if value and whole else None

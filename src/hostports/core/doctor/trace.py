"""A real packet's way as a story: what ``nft monitor trace`` tells, in sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hostports.brackets import bracketed
from hostports.model.address import is_wildcard
from hostports.model.port import Protocol, SocketAddress

#: How tables begin that only mark what is to be told.
MARKING: Final = "hostports_trace_"

_LINE: Final = re.compile(
    r"trace id (?P<id>\w+) (?P<family>\w+) (?P<table>\S+) (?P<chain>\S+) (?P<what>.*)"
)
_RULE: Final = re.compile(r"rule (?P<rule>.*) \(verdict (?P<verdict>[^)]*)\)")
_FIELD: Final = r"(?:^| ){} (\S+)"
#: A reset, among flags that nft may write as a number.
_REFUSING: Final = re.compile(r" tcp flags == (\S*rst|0x\d?[4-7c-f]\b)")
_TRANSLATING: Final = re.compile(r"\b(dnat (ip6? )?to|redirect)\b")
_NOT_COME: Final = (
    "No packet came: it is lost before this host, or goes to another address or port."
)
#: Where only a packet for this host comes, and where only one that leaves it.
_TAKEN: Final = "taken"
_LEAVING: Final = "leaving"
_STUCK: Final = (
    "It gets no further: the host neither takes nor forwards it (forwarding off, reverse path "
    "filter, no route, or a rule of iptables-legacy)."
)
_NOT_SENT: Final = "No packet was seen: this host could not send one to that address."
#: A counter's values say nothing of a packet's way.
_COUNTER: Final = re.compile(r" ?counter packets \d+ bytes \d+")


def marking(suffix: str, to: SocketAddress) -> str:
    """A script for ``nft -i``: first packets to an address, and first answers, are to be told.

    Chains without rules tell what has come through the kernel's routing. It ends by listing the
    table, so that who gave it sees when it is done.
    """
    table, protocol = f"inet {MARKING}{suffix}", to.protocol.value
    ip = "ip" if to.ip.version == 4 else "ip6"
    to_it = "" if is_wildcard(to.ip) else f"{ip} daddr {to.ip} "
    asked_it = "" if is_wildcard(to.ip) else f"ct original {ip} daddr {to.ip} "
    syn, answer = (
        ("tcp flags & (syn | ack) == syn ", "tcp flags & (syn | rst) != 0x0 ")
        if to.protocol is Protocol.TCP
        else ("", "")
    )
    tell = "limit rate 10/second meta nftrace set 1"
    only = f"meta nfproto ipv{to.ip.version}"
    lines = [f"add table {table} {{ flags owner; }}"]
    for hook in ("prerouting", "output"):
        # Before anything else; and right after connection tracking, which knows answers.
        for name, priority in ((f"first_{hook}", -450), (f"answer_{hook}", -199)):
            kind = f"{{ type filter hook {hook} priority {priority}; }}"
            lines.append(f"add chain {table} {name} {kind}")
        lines += [
            f"add rule {table} first_{hook} {only} {to_it}{protocol} dport {to.port} {syn}{tell}",
            f"add rule {table} answer_{hook} {only} meta l4proto {protocol} ct direction reply "
            f"{asked_it}ct original proto-dst {to.port} {answer}{tell}",
        ]
    for name, hook in ((_TAKEN, "input"), (_LEAVING, "postrouting")):
        lines.append(f"add chain {table} {name} {{ type filter hook {hook} priority -450; }}")
    return "\n".join([*lines, f"list table {table}", ""])


@dataclass(slots=True)
class _Packet:
    """What has been told of one packet so far; `ended` also where that has been said.

    `taken` is whether it came to the host's own sockets.
    """

    source: str
    first: str
    to: str
    oif: str = ""
    taken: bool = False
    ended: bool = False

    @property
    def stuck(self) -> bool:
        """Whether nothing became of it that the rules would see."""
        return not (self.ended or self.oif or self.taken)


@dataclass(slots=True)
class Story:
    """The first packet's way, and that of the first answer to it; others are left out.

    With `probe` it is this host that sends it.
    """

    protocol: Protocol
    probe: bool = False
    _asking: _Packet | None = None
    _answer: _Packet | None = None
    _by_id: dict[str, _Packet | None] = field(default_factory=dict)

    def told(self, line: str) -> Iterator[str]:
        """The sentences that a line adds.

        The marking table says nothing of what becomes of a packet, but where there is no other one,
        only it says that a packet came.
        """
        found = _LINE.match(line.strip())
        if not found:
            return
        what, packet = found["what"], self._by_id.get(found["id"])
        ours = found["table"].startswith(MARKING)
        if what.startswith("packet: "):
            yield from self._seen(found["id"], what)
            seen = self._by_id[found["id"]]
            if seen and ours and found["chain"] == _TAKEN:
                seen.taken = True
        elif packet and not ours:
            where = f"table {found['family']} {found['table']}, chain {found['chain']}"
            yield from _judged(packet, where, what)

    def end(self) -> Iterator[str]:
        """What can be said when nothing more comes."""
        if self._asking is None:
            yield _NOT_SENT if self.probe else _NOT_COME
            return
        unanswered = not (self._asking.ended or self._asking.stuck or self._answer)
        for packet in filter(None, (self._asking, self._answer)):
            if packet.stuck:
                yield _STUCK
            else:
                yield from _parting(packet)
        if unanswered:
            yield "No answer was seen."

    def _seen(self, number: str, what: str) -> Iterator[str]:
        source, to = _end(what, "s", self.protocol), _end(what, "d", self.protocol)
        if number not in self._by_id:
            # The kernel numbers a packet anew where it changes hands.
            again = [each for each in (self._asking, self._answer) if _is(each, source, to)]
            self._by_id[number] = again[0] if again else None
            if not again:
                yield from self._begun(number, source, to, what)
        packet = self._by_id[number]
        if packet is None:
            return
        if packet.to != to and not packet.ended:
            packet.to = to
            yield f"It now goes to {to}."
        packet.oif = _field(what, "oif")

    def _begun(self, number: str, source: str, to: str, what: str) -> Iterator[str]:
        begun, iif = _Packet(source, to, to), _field(what, "iif")
        by = f"comes in by {iif}" if iif else "begins on this host"
        if self._asking is None:
            self._asking = self._by_id[number] = begun
            yield f"A packet from {source} to {to}/{self.protocol.value} {by}."
        elif self._answer is None and to == self._asking.source:
            yield from _parting(self._asking)
            self._answer = self._by_id[number] = begun
            which = "A refusal" if _REFUSING.search(what) else "The answer"
            yield f"{which} from {source} to {to} {by}."


def _is(packet: _Packet | None, source: str, to: str) -> bool:
    return packet is not None and packet.source == source and to in (packet.first, packet.to)


def _parting(packet: _Packet) -> Iterator[str]:
    """How it leaves the rules, unless they ended it."""
    if not packet.ended:
        by = f"It leaves by {packet.oif}, to {packet.to}."
        yield by if packet.oif else f"It goes to whoever listens on {packet.to} here."
    packet.ended = True


def _end(what: str, letter: str, protocol: Protocol) -> str:
    """An address and port, ``s`` or ``d`` for source or destination."""
    ip = _field(what, f"ip6? {letter}addr")
    port = _field(what, f"{protocol.value} {letter}port")
    return f"{bracketed(ip)}:{port}"


def _judged(packet: _Packet, where: str, what: str) -> Iterator[str]:
    if rule := _RULE.match(what):
        text = _COUNTER.sub("", rule["rule"])
        if rule["verdict"] == "drop":
            packet.ended = True
            yield f"{where}: {'rejected' if 'reject' in text else 'dropped'} by the rule `{text}`."
        elif rule["verdict"] == "accept":
            done = "given another destination" if _TRANSLATING.search(text) else "accepted"
            yield f"{where}: {done} by the rule `{text}`."
    elif what.startswith("policy drop"):
        packet.ended = True
        yield f"{where}: dropped by its policy."
    elif what.startswith("policy"):
        yield f"{where}: passed."


def _field(text: str, name: str) -> str:
    found = re.search(_FIELD.format(name), text)
    return found[1].strip('"') if found else ""


def waiting(to: SocketAddress, seconds: float) -> str:
    """What is said first."""
    where = f"port {to.port}/{to.protocol.value} by IPv{to.ip.version}"
    if not is_wildcard(to.ip):
        where = f"{bracketed(to.ip)}:{to.port}/{to.protocol.value}"
    return f"Waiting up to {seconds:g} s for a packet to {where}."

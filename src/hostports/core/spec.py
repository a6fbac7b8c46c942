"""The text of ``-p`` <-> `PortSpec`: ``[ip:][hostPort[-end]:]port[-end][/proto]`` (moby 28.5).

Unlike moby, an interface may stand for the address: ``eth0:8080:80``. Its name is one of those that
we put into rules, has a letter, so that it is no broken address or port, and stands in no brackets.
"""

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, ip_address
from typing import Final, NamedTuple, NoReturn

from hostports.errors import UnusableValue, quoted
from hostports.model.address import IPAddress, unmapped
from hostports.model.network import INTERFACE
from hostports.model.port import MAX_PORT, PortRange, PortSpec, Protocol

_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
#: Port 0 asks for a dynamic one, as leaving the host port out does.
_DYNAMIC: Final = (0, 0)
_PROTOCOLS: Final = {protocol.value: protocol for protocol in Protocol} | {"": Protocol.TCP}
_LETTER: Final = re.compile(r"[A-Za-z]", re.ASCII)
#: What is a mistake and no interface: ``localhost:8080:80``, ``udp:53:53``.
_NO_INTERFACE: Final = {"localhost", *_PROTOCOLS}


class _Fields(NamedTuple):
    """The three fields that colons separate; an empty one was left out.

    Instead of the address there may be an interface.
    """

    host_ip: str
    host_ports: str
    container: str
    interface: str = ""


class _Ports(NamedTuple):
    """Ports `first`..`last`; unlike those of a `PortRange` they may be 0."""

    first: int
    last: int

    def __str__(self) -> str:
        count = self.last - self.first + 1
        return f"{count} port{'s' if count > 1 else ''}"


def parse_spec(text: str) -> list[PortSpec]:
    """The specs that one ``-p`` text stands for, one per container port, ports ascending.

    Raises `UnusableValue`, which names the text, the reason and the mend.
    """
    fields = _split(text)
    ports, _, protocol = fields.container.partition("/")
    container = _container_ports(text, ports)
    host = _host_ports(text, fields.host_ports)
    host_ip = _host_ip(text, fields.host_ip)
    of = _protocol(text, protocol)
    return [
        PortSpec(port, of, ports, host_ip, None, fields.interface)
        for port, ports in _paired(text, container, host)
    ]


def _split(text: str) -> _Fields:
    if text.startswith("["):
        return _split_bracketed(text)
    head, _, container = text.rpartition(":")
    host_ip, _, host_ports = head.rpartition(":")
    if _names_interface(host_ip):
        return _Fields("", host_ports, container, host_ip)
    return _Fields(host_ip, host_ports, container)


def _names_interface(word: str) -> bool:
    named = INTERFACE.fullmatch(word) and _LETTER.search(word)
    return bool(named) and word.lower() not in _NO_INTERFACE


def _split_bracketed(text: str) -> _Fields:
    host_ip, bracket, rest = text[1:].partition("]")
    if not bracket:
        _refuse(text, "the bracket before the host address is not closed", "write [::1]:8080:80")
    colons = rest.count(":")
    if not rest.startswith(":") or colons < 2:
        shown = quoted(host_ip)[1:-1]
        _refuse(
            text,
            "behind the host address stand a host port and a container port",
            f"write [{shown}]:8080:80, or [{shown}]::80 for a dynamic host port",
        )
    if colons > 2:
        _refuse(text, "there are too many colons behind the host address", "write [::1]:8080:80")
    _, host_ports, container = rest.split(":")
    return _Fields(host_ip, host_ports, container)


def _container_ports(text: str, word: str) -> _Ports:
    if not word:
        _refuse(text, "the container port is missing", "write 80, or 8080:80 with a host port")
    return _ports(text, word, "container port")


def _host_ports(text: str, word: str) -> _Ports | None:
    if not word:
        return None
    if word[0].isalpha() and _names_interface(word):
        container = text.rpartition(":")[2]
        _refuse(
            text,
            f"{quoted(word)} is no host port",
            f"write a number from 0 to {MAX_PORT}, or {word}::{container} if it is an interface",
        )
    ports = _ports(text, word, "host port")
    if ports.first == 0 and ports != _DYNAMIC:
        _refuse(text, "a host port range starts at 1 or later", f"write 1-{ports.last}")
    return ports


def _ports(text: str, word: str, what: str) -> _Ports:
    bounds = word.split("-")
    first, last = _port(text, bounds[0], what), _port(text, bounds[-1], what)
    if len(bounds) > 2:
        _refuse(text, f"a {what} range has one dash", f"write {first}-{last}")
    if last < first:
        _refuse(text, f"the {what} range {first}-{last} runs backwards", f"write {last}-{first}")
    return _Ports(first, last)


def _port(text: str, word: str, what: str) -> int:
    if not _DIGITS.fullmatch(word):
        _refuse(text, f"{quoted(word)} is no {what}", f"write a number from 0 to {MAX_PORT}")
    digits = word.lstrip("0") or "0"
    if len(digits) > len(str(MAX_PORT)) or int(digits) > MAX_PORT:
        _refuse(text, f"the {what} {quoted(digits)} is too large", f"the largest is {MAX_PORT}")
    return int(digits)


def _host_ip(text: str, word: str) -> IPAddress | None:
    if not word:
        return None
    try:
        if "%" in word:
            raise AddressValueError  # Python takes a zone, moby doesn't
        return unmapped(ip_address(word))
    except ValueError:
        _refuse(text, f"{quoted(word)} is no IP address", "write one as 192.0.2.1 or [2001:db8::1]")


def _protocol(text: str, word: str) -> Protocol:
    if "/" in word:
        _refuse(text, "one spec has one protocol", "give one -p for each protocol")
    protocol = _PROTOCOLS.get(word.lower())
    if protocol is None:
        _refuse(
            text,
            f"{quoted(word)} is no protocol whose ports can be published",
            "write tcp, udp or sctp",
        )
    return protocol


def _paired(
    text: str, container: _Ports, host: _Ports | None
) -> Sequence[tuple[int, PortRange | None]]:
    """Pair equally long ranges one to one; a host range beside one container port is a pool."""
    container_ports = range(container.first, container.last + 1)
    if host is None or (host == _DYNAMIC and len(container_ports) == 1):
        return [(port, None) for port in container_ports]
    if len(container_ports) == 1:
        return [(container.first, PortRange(*host))]
    if host.last - host.first != container.last - container.first:
        reason = f"{host} of the host can't be paired with {container} of the container"
        _refuse(text, reason, "give both ranges the same length")
    return [
        (port, PortRange.single(host.first + index)) for index, port in enumerate(container_ports)
    ]


def _refuse(text: str, reason: str, mend: str) -> NoReturn:
    raise UnusableValue(text, reason, mend)

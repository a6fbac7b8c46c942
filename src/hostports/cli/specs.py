"""Specs are checked before the daemon is asked, which has the last word."""

from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

MAX_PORT: Final = 65535
PROTOCOLS: Final = ("tcp", "udp", "sctp")


def check(texts: Iterable[str]) -> None:
    """Raise `UnusableValue` for the first text that is no spec."""
    for text in texts:
        if not plain(text):
            from hostports.core.spec import parse_spec  # noqa: PLC0415 - it doubles a start's time

            parse_spec(text)


def plain(text: str) -> bool:
    """Whether a text is plainly a good spec: ``8000-8010:80/udp`` or ``[::1]:8080:80``.

    For these, which are most, the grammar of all specs need not be imported.
    """
    words, slash, protocol = text.partition("/")
    fields = _without_host_ip(words).split(":")
    counts = [_count(each) for each in fields]
    return (
        len(fields) <= 2
        and (not slash or protocol in PROTOCOLS)
        and all(counts)
        and counts[-1] in (1, counts[0])
    )


def _count(ports: str) -> int:
    """How many ports ``80`` or ``8000-8010`` stands for; 0 if that isn't plain."""
    first, dash, last = ports.partition("-")
    if not dash:
        return int(is_port(first))
    if not (is_port(first) and is_port(last)) or int(first) == 0:
        return 0
    return max(0, int(last) - int(first) + 1)


def is_port(word: str) -> bool:
    """Whether a word is a port, 0 being one."""
    return word.isascii() and word.isdigit() and len(word) < 6 and int(word) <= MAX_PORT


def _without_host_ip(words: str) -> str:
    """The ports alone; what doesn't begin with a host address stays as it is."""
    family, start, end = (AF_INET6, 1, "]:") if words.startswith("[") else (AF_INET, 0, ":")
    host_ip, _, ports = words[start:].partition(end)
    return ports if ports.count(":") == 1 and _is_address(family, host_ip) else words


def _is_address(family: int, word: str) -> bool:
    try:
        return bool(inet_pton(family, word))
    except (OSError, ValueError):
        return False

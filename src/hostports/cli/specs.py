"""Specs are checked before the daemon is asked, which has the last word."""

from collections.abc import Iterable
from socket import AF_INET, inet_pton
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
    """Whether a text is plainly a good spec: ``80``, ``8080:80/udp`` or ``127.0.0.1:8080:80``.

    For these, which are most, the grammar of all specs need not be imported.
    """
    ports, slash, protocol = text.partition("/")
    words = ports.split(":")
    if len(words) == 3 and _is_ipv4(words[0]):
        del words[0]
    return (
        len(words) <= 2
        and (not slash or protocol in PROTOCOLS)
        and all(word.isascii() and word.isdigit() and len(word) < 6 for word in words)
        and all(int(word) <= MAX_PORT for word in words)
    )


def _is_ipv4(word: str) -> bool:
    try:
        return bool(inet_pton(AF_INET, word))
    except (OSError, ValueError):
        return False

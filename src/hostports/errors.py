"""One small exception per cause; each has a kind for the front ends and a hint for the user.

``str(error)`` is one line: what is wrong, then what to do about it. What went wrong while a failed
request was undone is attached as notes (PEP 678).
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import ClassVar, Final

_OFFER_TO_WAIT: Final = ", or wait with --wait-address"
#: Characters of an unusable word that a message repeats.
_LONGEST_WORD: Final = 80


def quoted(word: str) -> str:
    """A word of the input as a message shows it: in quotes, escaped, and not without end."""
    return repr(word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…")


def without_waiting(hint: str) -> str:
    """A hint for somebody who can't wait, as a plugin of a runtime can't."""
    return hint.removesuffix(_OFFER_TO_WAIT)


class Kind(Enum):
    """What a front end makes of an error: an exit code, an HTTP status."""

    UNUSABLE = "unusable input"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    NOT_PERMITTED = "not permitted"
    EXHAUSTED = "no port free"
    FAILED = "failed"


class HostportsError(Exception):
    """Any error that hostports raises on purpose."""

    kind: ClassVar[Kind] = Kind.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UnusableValue(HostportsError):
    """A word of the input can't be used; the message names the word, the reason and the mend."""

    kind = Kind.UNUSABLE

    def __init__(self, word: str, reason: str, mend: str) -> None:
        super().__init__(f"{quoted(word)}: {reason}", mend)
        self.word = word


class UnsupportedProtocol(HostportsError):
    """The kernel has no sockets of a protocol, so its ports can't be reserved."""

    kind = Kind.UNUSABLE


class PortError(HostportsError):
    """A host port can't be had."""


class PortPublished(PortError):
    """A host port is published already, by hostports itself.

    `wanted` are the addresses asked for, `holders` maps each address in the way to its endpoint.
    """

    kind = Kind.CONFLICT

    def __init__(self, wanted: Sequence[str], holders: Mapping[str, str]) -> None:
        self.holders = holders
        taken: dict[str, list[str]] = {}
        for address, endpoint in holders.items():
            taken.setdefault(endpoint, []).append(address)
        message = " and ".join(
            f"{' and '.join(addresses)} {'are' if addresses[1:] else 'is'} published by endpoint "
            f"{endpoint!r}"
            for endpoint, addresses in taken.items()
        )
        if list(wanted) not in taken.values():
            message = f"{' and '.join(wanted)} can't be published: {message}"
        super().__init__(message, "publish another port or unpublish that one")


class PortAskedTwice(PortError):
    """One request wants a host port for two container ports."""

    kind = Kind.CONFLICT

    def __init__(self, address: str, container_ports: tuple[int, int]) -> None:
        one, other = container_ports
        super().__init__(
            f"{address} is asked for twice, for container ports {one} and {other}",
            "give each its own host port",
        )


class HostPortInUse(PortError):
    """Another process holds the host port (bind(2) or listen(2) gave EADDRINUSE)."""

    kind = Kind.CONFLICT

    def __init__(self, address: str, holder: str = "") -> None:
        super().__init__(
            f"{address} is held by {holder or 'another process'}",
            "publish another port or stop it",
        )


class NoPortFree(PortError):
    """Every port of a range is published, reserved or held by another process."""

    kind = Kind.EXHAUSTED


class NoAddressFree(HostportsError):
    """No subnet, or no address of a network, is free."""

    kind = Kind.EXHAUSTED


class AddressNotOnHost(PortError):
    """The host address belongs to no interface of this host (bind(2) gave EADDRNOTAVAIL)."""

    kind = Kind.UNUSABLE

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} can't be bound: no interface of this host has that address",
            "publish on one of `ip addr`, or leave the host address out",
        )

    def offer_to_wait(self) -> None:
        """Say that the address may be waited for, to somebody who could and did not."""
        self.hint += _OFFER_TO_WAIT


class AddressOfLink(PortError):
    """The host address means something on each link only (bind(2) gave EINVAL)."""

    kind = Kind.UNUSABLE

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} can't be bound: it is an address of each link",
            "publish on an address that is not link-local",
        )


class NoAddressToFollow(AddressNotOnHost):
    """An interface is not there, or has no address that can lead to the endpoint."""

    def __init__(self, spec: str, interface: str, endpoint: str, *, is_there: bool) -> None:
        reason = (
            f"interface {interface!r} has no address that can lead to endpoint {endpoint!r}"
            if is_there
            else f"this host has no interface {interface!r}"
        )
        mend = "give it one" if is_there else "name one of `ip link`"
        PortError.__init__(self, f"{spec} can't be published: {reason}", mend)


class NotPermitted(HostportsError):
    """The kernel refuses the process a right it needs (EACCES, EPERM)."""

    kind = Kind.NOT_PERMITTED


class SocketFailed(PortError):
    """A socket system call failed for a reason that no other port mends."""


class NameTaken(HostportsError):
    """A name, bridge, subnet or address belongs to another network or endpoint already."""

    kind = Kind.CONFLICT


class InUse(HostportsError):
    """Something can't be removed while something else needs it."""

    kind = Kind.CONFLICT


class NotFound(HostportsError):
    """There is no network, endpoint or published port of that name."""

    kind = Kind.NOT_FOUND


class NotRestorable(HostportsError):
    """A binding of before a restart means nothing on its endpoint or network as they are now."""

    kind = Kind.CONFLICT


class FirewallFailed(HostportsError):
    """The firewall refused a change; nothing of the change was applied."""


class LinkFailed(HostportsError):
    """The kernel refused a bridge, a cable, an address or a route."""


class LinkTaken(LinkFailed):
    """The name of an interface is taken, on the host or in a namespace."""

    kind = Kind.CONFLICT


class ConntrackFailed(HostportsError):
    """The kernel refused to forget connection tracking entries."""


class StoreFailed(HostportsError):
    """The record of what is wanted can't be read or written."""


class DaemonThere(HostportsError):
    """Another daemon owns the rules of this network namespace, or did when it made them."""

    kind = Kind.CONFLICT


class ServingFailed(HostportsError):
    """The API can't be served at its socket."""


class PageRefused(HostportsError):
    """The web page can't be served at the port that was asked for."""

    kind = Kind.CONFLICT


class PageFailed(HostportsError):
    """The web page's process can't be started, or has ended."""


class RelayFailed(HostportsError):
    """The relay refused bindings, or could not give them up."""


class PortDriverFailed(HostportsError):
    """RootlessKit's API could not be reached or refused a request."""


class PortDriverConflict(PortDriverFailed):
    """RootlessKit found the port taken in the parent namespace; another port may be free."""

    kind = Kind.CONFLICT


class ReleaseFailed(HostportsError):
    """Some steps of a release failed; all the others were taken, and the ports were given back."""

    def __init__(self, errors: Iterable[Exception]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

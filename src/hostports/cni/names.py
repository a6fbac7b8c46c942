"""What endpoints and networks of CNI are called: known again by name, without a record of ours.

Without regular expressions and hashlib, which take longer to import than all the rest.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

#: Of all that the plugin makes; what has another name isn't its own.
PREFIX: Final = "cni-"
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
#: Checksums are numbers modulo a prime, by their length: nobody wants them to clash.
_PRIMES: Final = {4: 2**16 - 15, 8: 2**32 - 5, 16: 2**64 - 59}
#: What a name may have besides letters and digits, but not at its beginning.
_BETWEEN: Final = dict.fromkeys(map(ord, "_.-"))
#: With prefix and tags a name stays below 128 characters.
_LONGEST_LABEL: Final = 63
#: Digits of a container's ID that people know it by.
_SHORT_ID: Final = 12


class Tag(NamedTuple):
    """The end of an endpoint's name, three checksums: of the host's boot, the network, and all."""

    boot: str
    network: str
    own: str


class Attachment(NamedTuple):
    """A container's interface on a CNI network (CNI 1.1.0, section 2, "Attachment parameters")."""

    network: str
    container: str
    interface: str

    def tag(self, boot: str) -> Tag:
        """Its tag, in this boot of the host."""
        return Tag(_checksum(4, boot), _checksum(8, self.network), _checksum(16, "/".join(self)))

    def endpoint(self, pod: str, boot: str) -> str:
        """Its endpoint's name, in which people find the pod's, or else the container's."""
        fit = (each if is_name(f"x{each}") else "-" for each in pod[:_LONGEST_LABEL])
        label = "".join(fit) or self.container[:_SHORT_ID]
        of_boot, network, own = self.tag(boot)
        return f"{PREFIX}{label}-{of_boot}{network}-{own}"


def tag_of(endpoint: str) -> Tag | None:
    """The tag of an endpoint's name, if it is one of CNI."""
    label, *tags = endpoint.rsplit("-", 2)
    fits = [len(each) for each in tags] == [12, 16] and _HEXADECIMAL.issuperset("".join(tags))
    if not (fits and label.startswith(PREFIX)):
        return None
    return Tag(tags[0][:4], tags[0][4:], tags[1])


def is_name(text: str) -> bool:
    """Whether CNI takes it for the name of a network or a container."""
    rest = text.translate(_BETWEEN)
    return rest.isascii() and rest.isalnum() and text[0] == rest[0]


def network_name(interface: str) -> str:
    """The name of the network behind an interface."""
    return PREFIX + interface


def strays(endpoints: Iterable[str], network: str, valid: Iterable[Attachment]) -> list[str]:
    """The endpoints of a CNI network that are none of its valid attachments."""
    ours, known = _checksum(8, network), {each.tag("").own for each in valid}
    tags = {name: tag_of(name) for name in endpoints}
    return [
        name for name, tag in tags.items() if tag and tag.network == ours and tag.own not in known
    ]


def _checksum(digits: int, text: str) -> str:
    number = int.from_bytes(text.encode(errors="surrogateescape"), "big")
    return f"{number % _PRIMES[digits]:0{digits}x}"

"""What endpoints and networks of CNI are called: known again by name, without a record of ours."""

import re
from collections.abc import Iterable
from hashlib import blake2s
from typing import Final, NamedTuple

#: Of all that the plugin makes; what has another name isn't its own.
PREFIX: Final = "cni-"
_TAG: Final = re.compile(r"cni-.*-([0-9a-f]{8})-([0-9a-f]{16})", re.ASCII)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
#: With prefix and tags a name stays below 128 characters.
_LONGEST_LABEL: Final = 63
#: Digits of a container's ID that people know it by.
_SHORT_ID: Final = 12


class Attachment(NamedTuple):
    """A container's interface on a CNI network (CNI 1.1.0, section 2, "Attachment parameters")."""

    network: str
    container: str
    interface: str

    @property
    def tag(self) -> tuple[str, str]:
        """The end of its endpoint's name: the network's part, by which GC chooses, and its own."""
        return _digest(4, self.network), _digest(8, self.network, self.container, self.interface)

    def endpoint(self, pod: str) -> str:
        """Its endpoint's name, in which people find the pod's, or else the container's."""
        label = _UNFIT.sub("-", pod)[:_LONGEST_LABEL] or self.container[:_SHORT_ID]
        return "-".join([PREFIX + label, *self.tag])


def tag_of(endpoint: str) -> tuple[str, str] | None:
    """The tag of an endpoint's name, if it is one of CNI."""
    found = _TAG.fullmatch(endpoint)
    return None if found is None else (found[1], found[2])


def network_name(interface: str) -> str:
    """The name of the network behind an interface."""
    return PREFIX + interface


def strays(endpoints: Iterable[str], network: str, valid: Iterable[Attachment]) -> list[str]:
    """The endpoints of a CNI network that are none of its valid attachments."""
    ours, known = _digest(4, network), {each.tag for each in valid}
    tags = {name: tag_of(name) for name in endpoints}
    return [name for name, tag in tags.items() if tag and tag[0] == ours and tag not in known]


def _digest(size: int, *words: str) -> str:
    return blake2s("/".join(words).encode(), digest_size=size).hexdigest()

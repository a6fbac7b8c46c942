"""How a relayed connection ends: which ways are still open, and what follows the end of one.

A connection has two ways, from the client to the container and back. When one of them ends, the
peer is told (its input ends), and the other way goes on: TCP's half-close. SCTP has none (RFC 9260
section 9), so there the end of one way is the end of both.
"""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final


class Way(IntEnum):
    """A direction of a connection."""

    TO_CONTAINER = auto()
    TO_CLIENT = auto()


class Open(IntEnum):
    """Which ways of a connection are open."""

    BOTH = auto()
    ONLY_TO_CONTAINER = auto()
    ONLY_TO_CLIENT = auto()
    NONE = auto()
    #: A socket failed: the other side must see that, so no end is passed on any more.
    BROKEN = auto()


#: What is open after the end of a way.
Ends = Mapping[tuple[Open, Way], Open]

_BROKEN_STAYS: Final[Ends] = {(Open.BROKEN, way): Open.BROKEN for way in Way}
TCP_ENDS: Final[Ends] = {
    **_BROKEN_STAYS,
    (Open.BOTH, Way.TO_CONTAINER): Open.ONLY_TO_CLIENT,
    (Open.BOTH, Way.TO_CLIENT): Open.ONLY_TO_CONTAINER,
    (Open.ONLY_TO_CONTAINER, Way.TO_CONTAINER): Open.NONE,
    (Open.ONLY_TO_CLIENT, Way.TO_CLIENT): Open.NONE,
}
SCTP_ENDS: Final[Ends] = {
    **_BROKEN_STAYS,
    (Open.BOTH, Way.TO_CONTAINER): Open.NONE,
    (Open.BOTH, Way.TO_CLIENT): Open.NONE,
}

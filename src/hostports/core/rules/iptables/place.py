"""Where rules are: a chain, in a table, of a family. Chains of ours begin with ``HP-``."""

from hashlib import blake2s
from typing import Final

from hostports.model.address import Family

OURS: Final = "HP-"
#: The users' own chain, the counterpart of DOCKER-USER: jumped to first, never touched by us.
USER_CHAIN: Final = f"{OURS}USER"


def place(of: Family, table: str, chain: str) -> str:
    """A chain's place, as chains and collections go by it: ``4 nat HP-PUBLISH``."""
    return f"{of.value} {table} {chain}"


def placed(text: str) -> tuple[Family, str, str]:
    """Family, table and chain of a place."""
    of, table, chain = text.split(" ")
    return Family(int(of)), table, chain


def chain_of(prefix: str, bridge: str) -> str:
    """A bridge's chain, as ``HP-to-br0``: both kinds of name are short enough for one."""
    return f"{OURS}{prefix}-{bridge}"


def chain_for(prefix: str, what: object) -> str:
    """The chain for an address or port, whose text may be too long for a name (28 characters)."""
    return f"{OURS}{prefix}-{blake2s(str(what).encode(), digest_size=8).hexdigest()}"

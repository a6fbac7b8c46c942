"""What the connections of the stress test are to do: by chance, but the same each time."""

import random
from dataclasses import dataclass
from typing import Final

from tests.relay.peers import BLOCK

_SIZES: Final = (0, 1, 100, 5_000, 60_000, 400_000)
_PIECES: Final = (1, 1448, 4096, 65_536, 200_000)
_PAUSES_S: Final = (0.0, 0.0, 0.0, 0.001, 0.02)
#: No way takes more steps, so none takes more than a few seconds.
_STEPS: Final = 50


@dataclass(frozen=True)
class Pace:
    """How somebody reads or writes: so many bytes at once, with a pause in between."""

    piece: int
    pause_s: float

    @classmethod
    def of(cls, chance: random.Random, size: int) -> "Pace":
        """Any pace that comes to an end."""
        piece = chance.choice(_PIECES) + chance.randrange(2)
        return cls(max(piece, size // _STEPS), chance.choice(_PAUSES_S))


@dataclass(frozen=True)
class Way:
    """What one end sends, and the other expects.

    The sender first listens to the end if it `listens_first`, as a server does that wants to know
    the whole question. With `reset_at` it resets the connection after so many bytes.
    """

    data: bytes
    writing: Pace
    reading: Pace
    listens_first: bool
    reset_at: int | None

    @classmethod
    def of(cls, chance: random.Random, *, listens_first: bool, resets: bool) -> "Way":
        """Any way."""
        size = chance.choice(_SIZES) + chance.randrange(3)
        start = chance.randrange(len(BLOCK) - size)
        return cls(
            data=BLOCK[start : start + size],
            writing=Pace.of(chance, size),
            reading=Pace.of(chance, size),
            listens_first=listens_first,
            reset_at=chance.randrange(size + 1) if resets else None,
        )


@dataclass(frozen=True)
class Plan:
    """A connection: what its client sends, and its server. One of them may reset it."""

    client: Way
    server: Way

    @classmethod
    def of(cls, seed: int, number: int) -> "Plan":
        """The plan with a number, always the same."""
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 - it keeps no secrets
        listener = chance.choice(("nobody", "client", "server"))
        breaker = chance.choice(("client", "server", *["nobody"] * 6))
        client, server = (
            Way.of(chance, listens_first=who == listener, resets=who == breaker)
            for who in ("client", "server")
        )
        return cls(client, server)

    @property
    def resets(self) -> bool:
        """Whether the connection shall end with a reset."""
        return self.client.reset_at is not None or self.server.reset_at is not None

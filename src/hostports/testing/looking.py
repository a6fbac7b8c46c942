"""Fakes of who looks at the host's rules: for the doctor, and for its trace."""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field

from hostports.model.condition import Condition
from hostports.model.port import SocketAddress


@dataclass
class FakeInspection:
    """Tells the condition that it was told, and remembers into which namespaces it looked."""

    condition: Condition = field(default_factory=Condition)
    looked_into: set[str] = field(default_factory=set)

    def read(self, namespaces: Collection[str] = ()) -> Condition:
        """The host as the test wants it."""
        self.looked_into.update(namespaces)
        return self.condition


@dataclass
class FakeTracing:
    """Tells the lines that it was told, and remembers whom it followed."""

    lines: Sequence[str] = ()
    followed: list[tuple[SocketAddress, float, bool]] = field(default_factory=list)

    async def follow(
        self, to: SocketAddress, seconds: float, *, probe: bool
    ) -> AsyncGenerator[str, None]:
        """An empty line first; nobody is waited for."""
        self.followed.append((to, seconds, probe))
        yield ""
        for line in self.lines:
            yield line

"""Families in which the host was no router before us: what we switched on, and switch off again."""

from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from hostports.core.rules.settings import FORWARDING, needed
from hostports.core.rules.state import RulesState
from hostports.errors import HostportsError
from hostports.interfaces import Guards
from hostports.linux import sysctl
from hostports.model.address import Family
from hostports.model.network import BridgeNetwork


class UnrecordedGuards:
    """`Guards` that live no longer than this process."""

    def __init__(self) -> None:
        self._families: frozenset[Family] = frozenset()

    def add(self, families: Set[Family]) -> frozenset[Family]:
        """Remember these, too; all that are remembered."""
        self._families |= families
        return self._families

    def remove(self, families: Set[Family]) -> None:
        """Forget these."""
        self._families -= families


class NoGuards:
    """`Guards` of a firewall that leaves it to another one, and is only there to go."""

    def add(self, families: Set[Family]) -> frozenset[Family]:  # noqa: ARG002 - none is remembered
        """None."""
        return frozenset()

    def remove(self, families: Set[Family]) -> None:
        """There is nothing to forget."""


def switched_on(networks: Iterable[BridgeNetwork]) -> frozenset[Family]:
    """The families in which networks need the host to be a router, which it isn't yet."""
    wanted = needed(networks)
    return frozenset(
        of
        for of, names in FORWARDING.items()
        if names[-1] in wanted and sysctl.read(names[-1]) == "0"
    )


@contextmanager
def guarding(
    guards: Guards,
    state: RulesState,
    networks: Iterable[BridgeNetwork],
    remake: Callable[[RulesState], None],
) -> Iterator[None]:
    """Guard the host as long as it is no router yet, where networks are about to make it one.

    `remake` makes all rules anew by a state: by the former one again, if what follows fails.
    """
    new = switched_on(networks) - state.settings.guard
    if not new:
        yield
        return
    guard = guards.add(new)
    try:
        remake(state.guarding(guard))
        yield
    except HostportsError:
        remake(state)
        guards.remove(new)
        raise


def stop_forwarding(guarded: Set[Family]) -> None:
    """Let the host be no router again, before what guards it goes.

    Nobody else's traffic was forwarded meanwhile, so nobody misses it. Raises what `sysctl.write`
    raises.
    """
    sysctl.write({name: "0" for of in sorted(guarded) for name in FORWARDING[of]})


def lifetime() -> tuple[str, int]:
    """What kernel settings live as long as: a boot of the host, and a network namespace of it."""
    return sysctl.read("kernel.random.boot_id"), Path("/proc/thread-self/ns/net").stat().st_ino

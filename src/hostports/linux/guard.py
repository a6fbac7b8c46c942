"""Families in which the host was no router before us: what we switched on, and switch off again."""

from collections.abc import Set
from pathlib import Path

from hostports.core.rules.settings import FORWARDING
from hostports.linux import sysctl
from hostports.model.address import Family


class UnrecordedGuards:
    """`Guards` that live no longer than this process."""

    def __init__(self) -> None:
        self._families: frozenset[Family] = frozenset()

    def add(self, families: Set[Family]) -> frozenset[Family]:
        """Remember these, too; all that are remembered."""
        self._families |= families
        return self._families

    def clear(self) -> None:
        """Forget all."""
        self._families = frozenset()


class NoGuards:
    """`Guards` of a firewall that leaves it to another one, and is only there to go."""

    def add(self, families: Set[Family]) -> frozenset[Family]:  # noqa: ARG002 - none is remembered
        """None."""
        return frozenset()

    def clear(self) -> None:
        """There is nothing to forget."""


def not_forwarding() -> frozenset[Family]:
    """The families in which the host is no router now."""
    return frozenset(of for of, names in FORWARDING.items() if sysctl.read(names[-1]) == "0")


def stop_forwarding(guarded: Set[Family]) -> None:
    """Let the host be no router again, before what guards it goes.

    Nobody else's traffic was forwarded meanwhile, so nobody misses it. Raises what `sysctl.write`
    raises.
    """
    sysctl.write({name: "0" for of in sorted(guarded) for name in FORWARDING[of]})


def lifetime() -> tuple[str, int]:
    """What kernel settings live as long as: a boot of the host, and a network namespace of it."""
    return sysctl.read("kernel.random.boot_id"), Path("/proc/thread-self/ns/net").stat().st_ino

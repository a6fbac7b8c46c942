"""A host that is no router yet and has no firewall, and what becomes of it with one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from hostports.core.rules.data import Settings
from hostports.core.rules.settings import FORWARDING
from hostports.linux import sysctl
from hostports.linux.guard import UnrecordedGuards
from hostports.linux.iptables import Iptables, IptablesFirewall
from hostports.linux.nftables import NftablesFirewall
from hostports.model.address import Family
from tests.netns.firewall_checks import EVERYTHING, RealFirewall
from tests.netns.lab import CONTAINERS, NEIGHBOURS, Lab, lab

F = TypeVar("F", bound=RealFirewall)
#: Every firewall that opens ports to packets, by its name.
BACKENDS: Final[dict[str, Callable[[Settings | None], RealFirewall]]] = {
    "nftables": NftablesFirewall,
    "iptables-nft": partial(IptablesFirewall, iptables=Iptables("-nft")),
    "iptables-legacy": partial(IptablesFirewall, iptables=Iptables("-legacy")),
}


def no_router() -> UnrecordedGuards:
    """What is remembered of a host that a former network has made a router."""
    guards = UnrecordedGuards()
    guards.add(frozenset(Family))
    return guards


@contextmanager
def bare_lab() -> Iterator[Lab]:
    """A lab whose host is no router yet and has no firewall."""
    with lab(forwarding=False) as made:
        for name in CONTAINERS:
            made.serve(name, name, [80, 81])
        for name in NEIGHBOURS:
            made.serve(name, name, [7000])
        yield made


@contextmanager
def on_host(
    bare: Lab, settings: Settings | None = None, *, backend: Callable[[Settings | None], F]
) -> Iterator[F]:
    """A firewall on the bare lab's host, with all that is published; gone afterwards.

    The host is no router before and after.
    """
    with bare.namespaces["host"].entered():
        made = backend(settings)
        made.apply(EVERYTHING)
    try:
        yield made
    finally:
        with bare.namespaces["host"].entered():
            made.remove()
            router = (each for names in FORWARDING.values() for each in names)
            sysctl.write(dict.fromkeys(router, "0"))

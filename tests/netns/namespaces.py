"""Network namespaces that a test makes, works in, and removes."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

from pyroute2 import IPRoute, netns

from hostports.core.rules.iptables.listing import ours
from hostports.core.rules.listing import our_table
from hostports.linux.iptables import hosts_own

SYSCTLS = Path("/proc/sys")

#: Without duplicate address detection (linux/if_addr.h). An IPv6 address even of loopback would be
#: tentative for a moment otherwise, and could not be bound.
IFA_F_NODAD = 0x02
RTN_LOCAL = 2


class Namespace:
    """A namespace of its own with loopback up; its name is unique, so that runs don't meet."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread work in the namespace; sockets made there stay there.

        Each thread finds its own way back; pyroute2's pushns has one stack for all threads.
        """
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            netns.setns(self.name, flags=0)
            try:
                yield
            finally:
                netns.setns(before.fileno())

    def sysctl(self, name: str, value: str) -> None:
        """Set a setting of the namespace, as ``net.ipv4.ip_forward``."""
        with self.entered():
            (SYSCTLS / name.replace(".", "/")).write_text(value)

    def add_addresses(self, addresses: Sequence[str]) -> None:
        """Give loopback addresses, as ``192.0.2.10/24``; they can be bound and reached at once."""
        with self.entered(), IPRoute() as links:
            (loopback,) = links.link_lookup(ifname="lo")
            for address in addresses:
                ip, _, length = address.partition("/")
                if ip not in ("127.0.0.1", "::1"):
                    where = {"index": loopback, "address": ip, "prefixlen": int(length)}
                    links.addr("add", **where, IFA_FLAGS=IFA_F_NODAD)
                _wait_until_reached(links, ip)


def _wait_until_reached(links: IPRoute, ip: str) -> None:
    """Linux answers before an IPv6 address has its local route: a work queue of it adds that."""
    deadline = monotonic() + 10
    while links.route("get", dst=ip)[0]["type"] != RTN_LOCAL:
        if monotonic() > deadline:
            raise TimeoutError(ip)
        sleep(0.001)


@contextmanager
def namespace(addresses: Sequence[str] = (), *, ipv6: bool = True) -> Iterator[Namespace]:
    """A namespace for a `with` block; without `ipv6` its loopback has no IPv6 address."""
    name = f"hostports-{uuid4().hex[:12]}"
    try:
        netns.create(name)
        made = Namespace(name)
        if not ipv6:
            for where in ("all", "default", "lo"):
                made.sysctl(f"net.ipv6.conf.{where}.disable_ipv6", "1")
        with made.entered(), IPRoute() as links:
            links.link("set", index=1, state="up")
        made.add_addresses(addresses)
        yield made
    finally:
        with suppress(FileNotFoundError):
            netns.remove(name)


def iptables_of_ours() -> list[str]:
    """What iptables has of us, sorted: the order of rules that grow with ports doesn't matter."""
    iptables = hosts_own()
    saved = [f"{of}: {line}" for of in iptables.families for line in ours(iptables.saved(of))]
    return sorted(each.partition(" [")[0] for each in saved)


def table_of_ours() -> list[str]:
    """Chains, sets and maps of our table without counters, in whatever order they were made."""
    listed = our_table(nft("-s", "list", "ruleset", "inet"))
    return sorted(re.split(r"^\t}$", listed.partition("{")[2], flags=re.MULTILINE))


def nft(*arguments: str) -> str:
    """What nft answers in the namespace that the thread is in."""
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout

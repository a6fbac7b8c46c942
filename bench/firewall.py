"""The firewall at scale: what a call costs, and what a packet costs, beside what others do.

Calls: our ``apply`` beside a bare ``nft -f -`` of the same script on the same table. Packets:
connect to the last of N published ports, with our maps, with one nft rule a port, and with iptables
rules in Docker's layout, taking turns in one run. All happens in network namespaces; it wants root,
nft and iptables.
"""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from statistics import median
from time import perf_counter

from hostports import PortBinding, Protocol
from hostports.core.rules.data import Settings
from hostports.core.rules.nft import change_script
from hostports.core.rules.state import RulesState
from hostports.linux.nftables import NftablesFirewall
from hostports.model.firewall import FirewallChange
from tests.netns.lab import NETWORKS, Lab, endpoint, lab
from tests.netns.namespaces import namespace, nft

BINDINGS = (1, 100, 1_000, 2_000, 10_000, 60_000)
PORTS = (1, 1_000, 10_000, 60_000)
ROUNDS, CONNECTS = 5, 100
NETWORK, WEB = NETWORKS["A"], endpoint("a1")
FIRST_PORT = 2_000


def bindings(number: int) -> list[PortBinding]:
    """IPv4 and IPv6 in turn, so that two thousand are a thousand dual-stack ports."""
    ipv4 = PortBinding(
        NETWORK.name, "a1", Protocol.TCP, IPv4Address("0.0.0.0"), 1, IPv4Address("172.30.0.2"), 80
    )
    ipv6 = replace(ipv4, host_ip=IPv6Address("::"), container_ip=IPv6Address("fd30::2"))
    pairs = ((ipv4, ipv6) for _ in range((number + 1) // 2))
    return [
        replace(each, host_port=port, container_port=port)
        for port, pair in enumerate(pairs, FIRST_PORT)
        for each in pair
    ][:number]


def timed(act: Callable[..., object], *arguments: object) -> float:
    """Seconds that an act takes."""
    start = perf_counter()
    act(*arguments)
    return perf_counter() - start


def calls() -> None:
    """Publish and release, beside nft alone."""
    print(f"{'':>10}{'publish':>12}{'to bare':>12}{'release':>12}{'to bare':>12}")
    print(f"{'bindings':>10}{'seconds':>12}{'nft':>12}{'seconds':>12}{'nft':>12}")
    with namespace() as host, host.entered():
        firewall = NftablesFirewall()
        firewall.apply(FirewallChange(opened=(NETWORK, WEB)))
        for number in BINDINGS:
            change = FirewallChange(opened=tuple(bindings(number)))
            ours, bare = [], []
            for _ in range(ROUNDS):
                ours.append([timed(firewall.apply, each) for each in (change, change.reversed())])
                bare.append([timed(firewall.run, each) for each in scripts(change)])
            publish, release = map(median, zip(*ours, strict=True))
            bare_publish, bare_release = map(median, zip(*bare, strict=True))
            print(
                f"{number:10,}{publish:12.4f}{publish / bare_publish:12.2f}"
                f"{release:12.4f}{release / bare_release:12.2f}"
            )


def scripts(change: FirewallChange) -> list[str]:
    """A change and its reverse as text for nft, made before the clock runs."""
    state = RulesState(Settings())
    state.commit(state.planned(FirewallChange(opened=(NETWORK, WEB))))
    opening = state.planned(change)
    state.commit(opening)
    return [change_script(opening), change_script(state.planned(change.reversed()))]


@contextmanager
def maps(number: int, *, counting: bool = True) -> Iterator[None]:
    """Our table; without `counting` no packet is looked up for its port's counters."""
    firewall = NftablesFirewall()
    firewall.apply(FirewallChange(opened=(NETWORK, WEB)))
    (first,) = bindings(1)
    ports = range(FIRST_PORT, FIRST_PORT + number)
    opened = tuple(replace(first, host_port=port, container_port=80) for port in ports)
    firewall.apply(FirewallChange(opened=opened))
    if not counting:
        firewall.run("flush chain inet hostports traffic_in")
    yield
    firewall.remove()


@contextmanager
def nft_rules(number: int) -> Iterator[None]:
    """One rule a port for DNAT, and one for accept."""
    script = [
        "add table ip linear",
        "add chain ip linear leads",
        "add chain ip linear opens",
        "add chain ip linear pre { type nat hook prerouting priority -100; }",
        "add chain ip linear through { type filter hook forward priority 0; }",
        "add rule ip linear pre fib daddr type local jump leads",
        "add rule ip linear through ct state established,related accept",
        "add rule ip linear through oifname brA jump opens",
    ]
    for port in range(FIRST_PORT, FIRST_PORT + number):
        last = port == FIRST_PORT + number - 1
        match = f"iifname != brA tcp dport {port} counter"
        script.append(f"add rule ip linear leads {match} dnat to 172.30.0.2:80")
        to = f"ip daddr 172.30.0.2 tcp dport {80 if last else port}"
        script.append(f"add rule ip linear opens {to} counter accept")
    run("nft", "-f", "-", script="\n".join(script))
    yield
    nft("delete", "table", "ip", "linear")


@contextmanager
def iptables_rules(number: int) -> Iterator[None]:
    """Docker's layout: a DNAT rule and an ACCEPT rule a port."""
    dnat = ["*nat", ":DOCKER - [0:0]", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"]
    accept = ["*filter", ":DOCKER - [0:0]"]
    accept += ["-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    accept += ["-A FORWARD -o brA -j DOCKER"]
    for port in range(FIRST_PORT, FIRST_PORT + number):
        last = port == FIRST_PORT + number - 1
        dnat.append(
            f"-A DOCKER ! -i brA -p tcp --dport {port} -j DNAT --to-destination 172.30.0.2:80"
        )
        to = f"-d 172.30.0.2/32 ! -i brA -o brA -p tcp --dport {80 if last else port}"
        accept.append(f"-A DOCKER {to} -j ACCEPT")
    run("iptables-restore", script="\n".join([*dnat, "COMMIT", *accept, "COMMIT", ""]))
    yield
    nft("flush", "ruleset")


def run(*command: str, script: str) -> None:
    """A program in the namespace that we are in, fed with a script."""
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)  # noqa: S603


def connect(made: Lab, port: int) -> float:
    """The median time to connect, in microseconds."""
    times = []
    for _ in range(CONNECTS):
        with made.namespaces["client"].entered():
            client = socket.socket()
        with client:
            client.settimeout(10)
            times.append(timed(client.connect, ("10.9.0.1", port)))
            client.recv(100)
    return median(times) * 1e6


def packets() -> None:
    """Connect to the last of many ports."""
    ways: dict[str, Callable[[int], AbstractContextManager[None]]] = {
        "our maps": maps,
        "our maps, not counting": partial(maps, counting=False),
        "nft rules": nft_rules,
        "iptables rules": iptables_rules,
    }
    found: dict[tuple[str, int], list[float]] = {}
    with lab() as made:
        made.serve("a1", "a1", [80])
        for _ in range(3):
            for number in PORTS:
                for name, way in ways.items():
                    with made.namespaces["host"].entered(), way(number):
                        took = connect(made, FIRST_PORT + number - 1)
                    found.setdefault((name, number), []).append(took)
    print(f"\n{'connect to the last of':24}{'ports':>8}{'p50 in us':>12}{'to one port':>14}")
    for (name, number), times in sorted(found.items()):
        one = median(found[name, 1])
        print(f"{name:24}{number:8,}{median(times):12.0f}{median(times) / one:14.2f}")


def main() -> None:
    """Both tables."""
    calls()
    packets()


if __name__ == "__main__":
    main()

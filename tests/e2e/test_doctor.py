"""What the doctor says is what a client meets, and the mend that it prints is one."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from pyroute2 import netns

from tests.e2e.firewalls import Firewalld, Ufw
from tests.e2e.site import SILENCE_S, Daemon, Site, host_probe, site, wired
from tests.netns.namespaces import namespace, nft

#: Host ports, all of container port 80: by NAT, and by the relay alone.
NAT, RELAY = 8080, 8082
#: Mends uncover what is in the way behind; so many firewalls may stand in a row.
_ROUNDS: Final = 4


@dataclass(frozen=True)
class Case:
    """Commands that somebody gave, and what they keep clients from; both empty: nothing."""

    commands: str
    shut: tuple[int, ...] = ()
    where: str = ""


def nftables(chains: str) -> str:
    """A command that makes a table."""
    return f"nft -f - <<'END'\ntable inet others {{\n{chains}\n}}\nEND"


def forward(rules: str, policy: str = "accept") -> str:
    """A command that makes a chain at the forward hook."""
    begin = f"type filter hook forward priority 0; policy {policy};"
    return nftables(f"chain passing {{ {begin}\n{rules}\n}}")


CASES: Final = {
    "nobody else": Case(""),
    "a policy of drop": Case(forward("", "drop"), (NAT,), "inet others, chain passing, its policy"),
    "a last reject": Case(
        forward("ct state established,related accept\niifname hp-* accept\nreject"),
        (NAT,),
        "inet others, chain passing, rule `reject",
    ),
    "what was translated is accepted": Case(forward("ct status dnat accept", "drop")),
    "what is for another port is dropped": Case(forward("tcp dport { 22, 443, 8000-8079 } drop")),
    "chains that jump, go and return": Case(
        nftables(
            """chain web { tcp dport != 80 return; goto shut; }
            chain shut { ip saddr 10.9.0.0/16 drop; }
            chain passing { type filter hook forward priority 5
            meta l4proto vmap { udp : accept, tcp : jump web }
            accept
            }"""
        ),
        (NAT,),
        "inet others, chain shut, rule `ip saddr 10.9.0.0/16 drop",
    ),
    "a set of strangers": Case(
        nftables(
            """set known { type ipv4_addr . inet_service; flags interval
            elements = { 10.8.0.0/16 . 80, 10.9.0.9 . 1-90 } }
            chain passing { type filter hook forward priority -1
            ct state new ip saddr . tcp dport != @known drop
            }"""
        ),
        (NAT,),
        "rule `ct state new ip saddr . tcp dport != @known drop",
    ),
    "a mark that opens": Case(
        nftables(
            """chain early { type filter hook prerouting priority -150
            iifname uplink0 meta mark set 0x7; }
            chain passing { type filter hook forward priority 0; policy drop
            meta mark & 0xf == 7 accept
            ct state established accept; }"""
        )
    ),
    "only first packets with flags": Case(
        forward("tcp flags & (fin | syn | rst | ack) != syn ct state new drop")
    ),
    "answers are dropped": Case(
        forward("iifname hp-* ct direction reply drop"), (NAT,), "ct direction reply drop"
    ),
    "before translation": Case(
        nftables("chain raw { type filter hook prerouting priority -300; tcp dport 8080 drop; }"),
        (NAT,),
        "inet others, chain raw, rule `tcp dport 8080 drop",
    ),
    "on the way out": Case(
        nftables("chain out { type filter hook postrouting priority 0; tcp dport 80 drop; }"),
        (NAT, RELAY),
        "chain out",
    ),
    "at the device": Case(
        "nft add table netdev others; nft add chain netdev others first "
        "'{ type filter hook ingress device uplink0 priority 0; }'; "
        "nft add rule netdev others first tcp dport { 8080, 8082 } drop",
        (NAT, RELAY),
        "netdev others, chain first",
    ),
    "spoofed sources": Case(
        nftables(
            """chain early { type filter hook prerouting priority -300
            fib saddr . iif oif missing drop
            fib daddr type != { local, unicast } drop; }"""
        )
    ),
    "the host's own door": Case(
        nftables(
            """chain in { type filter hook input priority 0; policy drop
            ct state vmap { established : accept, related : accept, invalid : drop }
            iifname lo accept
            tcp dport { 22, 80 } accept; }"""
        ),
        (RELAY,),
        "inet others, chain in, its policy",
    ),
    "what the host sends": Case(
        nftables("chain out { type filter hook output priority 0; oifname hp-* reject; }"),
        (RELAY,),
        "inet others, chain out",
    ),
    "without tracking the relay serves": Case(
        nftables("chain raw { type filter hook prerouting priority -300; tcp dport 8080 notrack; }")
    ),
    "the user's own chain": Case(
        "nft add rule inet hostports user ip saddr 10.9.0.2 tcp dport 80 drop",
        (NAT,),
        "inet hostports, chain user",
    ),
    "no router": Case("sysctl -qw net.ipv4.ip_forward=0", (NAT,)),
    "no router for requests": Case("sysctl -qw net.ipv4.conf.uplink0.forwarding=0", (NAT,)),
    "no router for answers": Case("sysctl -qw net.ipv4.conf.hp-nat.forwarding=0", (NAT,)),
    "Docker's": Case(
        """iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -N DOCKER
        iptables -A FORWARD -j DOCKER-USER
        iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -A FORWARD -o docker0 -j DOCKER
        iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
        iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
        iptables -A DOCKER-USER -j RETURN""",
        (NAT,),
        "table filter of iptables, chain FORWARD, its policy DROP",
    ),
    "iptables with many matches": Case(
        """iptables -N web
        iptables -A FORWARD -i uplink+ -p tcp -m multiport --dports 22,80:81 -g web
        iptables -A web ! -s 10.9.0.0/24 -j ACCEPT
        iptables -A web -m addrtype --dst-type UNICAST -m mark --mark 0x0/0xff -j REJECT""",
        (NAT,),
        "chain web, rule `-A web -m addrtype",
    ),
    "iptables, in the mangle table": Case(
        "iptables -t mangle -A PREROUTING -p tcp -m tcp --dport 8080:8082 --syn -j DROP",
        (NAT, RELAY),
        "table mangle of iptables, chain PREROUTING",
    ),
    "iptables-legacy": Case(
        "iptables-legacy -P FORWARD DROP; iptables-legacy -A INPUT -p tcp --dport 8082 -j REJECT",
        (NAT, RELAY),
        "iptables-legacy, chain",
    ),
    "two in a row": Case(
        forward("tcp dport 80 reject") + "\niptables -P FORWARD DROP",
        (NAT,),
        "chain",
    ),
}
#: What takes it all away again, and lets be what wasn't there.
CLEAN: Final = """
for table in $(nft list tables | awk '$3 != "hostports" { print $2 "," $3 }'); do
    nft delete table $(echo $table | tr , ' ')
done
nft flush chain inet hostports user
sysctl -qw net.ipv4.ip_forward=0 && sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv4.conf.uplink0.rp_filter=0
ip route del 10.9.0.2/32 || true; ip route del blackhole 10.90.0.2/32 || true
iptables-legacy -P FORWARD ACCEPT; iptables-legacy -P INPUT ACCEPT
iptables-legacy -F; iptables-legacy -X
true
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A container whose port 80 is published by NAT, and by the relay alone."""
    with site(tmp_path_factory.mktemp("site")) as made:
        made.client.create_network("nat", subnets=["10.90.0.0/24"])
        made.add_container("nat1")
        made.publish("nat1", f"{NAT}:80")
        made.publish("nat1", f"{RELAY}:80", mode="relay")
        try:
            yield made
        finally:
            run(made, CLEAN)


def run(made: Site, commands: str) -> None:
    """Give commands on the host, as root does."""
    with made.lab.namespaces["host"].entered():
        subprocess.run(["/bin/sh", "-ec", commands], check=True, capture_output=True)


def told(made: Site, port: int) -> list[dict[str, Any]]:
    """What the doctor says of a port over IPv4, to the clients that the test has."""
    findings = made.client.doctor()["findings"]
    some = [each for each in findings if f"0.0.0.0:{port}/tcp" in each["ports"]]
    return [each for each in some if " from trust0:" not in each["what"]]


def problems(made: Site, port: int) -> list[dict[str, Any]]:
    """What keeps clients from a port."""
    return [each for each in told(made, port) if each["severity"] == "problem"]


def reached(made: Site, port: int) -> bool:
    """Whether a client really reaches a port."""
    return made.answers(host_probe("remote", port), seconds=SILENCE_S) == ["nat1"]


def mended(made: Site, port: int) -> None:
    """Do what the doctor says, as often as it finds something."""
    for _ in range(_ROUNDS):
        for each in problems(made, port):
            run(made, each["mend"])
    assert problems(made, port) == []


@contextmanager
def given(made: Site, commands: str) -> Iterator[None]:
    """Commands for a `with` block, after which nothing is left of them."""
    try:
        run(made, commands)
        yield
    finally:
        run(made, CLEAN)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_said_is_what_a_client_meets_and_mends_mend(made: Site, case: Case) -> None:
    """Also nothing is said where nothing is in the way."""
    with given(made, case.commands):
        for port in (NAT, RELAY):
            assert reached(made, port) == (port not in case.shut)
            found = problems(made, port)
            assert bool(found) == (port in case.shut), found
            assert all(case.where in each["where"] for each in found)
            assert {each["severity"] for each in told(made, port)} <= {"ok", "problem"}
        for port in case.shut:
            mended(made, port)
            assert reached(made, port)


@pytest.mark.parametrize(
    "commands",
    [
        forward("limit rate 5/hour burst 1 packets accept", "drop"),
        forward("tcp option maxseg size 1-2000 drop"),
        "iptables -A FORWARD -p tcp -m string --string x --algo bm -j DROP",
        "iptables -A FORWARD -m statistic --mode nth --every 2 --packet 0 -j ACCEPT"
        "; iptables -P FORWARD DROP",
    ],
)
def test_what_we_cannot_judge_is_told_as_a_doubt(made: Site, commands: str) -> None:
    """A rule that may hold is neither passed over nor taken for certain."""
    with given(made, commands):
        warnings = told(made, NAT)
        assert {each["severity"] for each in warnings} == {"warning"}
        assert all("perhaps not reached" in each["what"] for each in warnings)
        assert all(each["where"] for each in warnings)


def test_a_port_that_others_take_first_is_told(made: Site) -> None:
    """Whoever translates before us decides where the port leads."""
    taken = """nft add table ip others; nft add chain ip others early \
    '{ type nat hook prerouting priority -101; }'
    nft add rule ip others early tcp dport 8080 dnat to 10.9.0.99:81"""
    with given(made, taken):
        (problem,) = problems(made, NAT)
        assert "is led to 10.9.0.99 port 81 instead" in problem["what"]
        assert "ip others, chain early" in problem["where"]
        assert not reached(made, NAT)


def test_a_container_that_does_not_listen_is_told(made: Site) -> None:
    """Nothing of the host's is wrong, and clients are refused."""
    made.publish("nat1", "8089:89")
    try:
        findings = told(made, 8089)
        assert [each["severity"] for each in findings] == ["warning"]
        assert "nothing in nat1 listens on port 89/tcp" in findings[0]["what"]
    finally:
        made.client.unpublish("nat1", ["8089:89"])


@pytest.mark.parametrize(
    ("loss", "shut"),
    [
        ("ip link set eth0 down", (NAT, RELAY)),
        ("ip address flush dev eth0", (NAT, RELAY)),
        ("ip link set eth0 down; ip link set eth0 up", (NAT,)),
        ("ip route del default", (NAT,)),
    ],
)
def test_a_container_that_has_lost_its_address_or_its_way_out_is_told_and_mended(
    made: Site, loss: str, shut: tuple[int, ...]
) -> None:
    with made.lab.namespaces["nat1"].entered():
        subprocess.run(["/bin/sh", "-ec", loss], check=True)
    try:
        for port in (NAT, RELAY):
            assert reached(made, port) == (port not in shut)
            assert {each["mend"] for each in problems(made, port)} == (
                {"hostports reload"} if port in shut else set()
            )
    finally:
        made.client.reload()
    assert [problems(made, port) for port in (NAT, RELAY)] == [[], []]
    assert [reached(made, port) for port in (NAT, RELAY)] == [True, True]


def test_a_bridge_of_somebody_else_that_is_down_is_told(made: Site) -> None:
    """One of ours would be set up again at once."""
    run(made, "ip link add br9 type bridge; ip addr add 10.93.0.1/24 dev br9; ip link set br9 up")
    made.client.create_network("four", bridge="br9", existing_bridge=True, subnets=["10.93.0.0/24"])
    try:
        made.add_container("four1")
        made.publish("four1", "8093:80")
        assert made.answers(host_probe("remote", 8093), seconds=SILENCE_S) == ["four1"]
        assert problems(made, 8093) == []
        run(made, "ip link set br9 down")
        assert made.answers(host_probe("remote", 8093), seconds=SILENCE_S) != ["four1"]
        (problem,) = problems(made, 8093)
        assert "br9 of network four is down" in problem["what"]
        run(made, problem["mend"])
        assert problems(made, 8093) == []
    finally:
        made.client.remove_network("four", force=True)
        run(made, "ip link del br9")


def test_an_endpoint_whose_namespace_has_gone_is_told_until_it_is_attached_again(
    made: Site,
) -> None:
    """A namespace that is made anew under its name is another one, until we lay a cable to it."""
    with namespace() as web:
        name = web.name
        made.client.add_endpoint("nat", "web", netns=name)
        made.publish("web", "8090:80")
    try:
        (problem,) = problems(made, 8090)
        assert problem["what"].startswith("endpoint 'web' is not attached")
        netns.create(name)
        assert problems(made, 8090) == [problem]
        made.client.reload()
        assert problems(made, 8090) == []
    finally:
        made.client.remove_endpoint("web")
        netns.remove(name)


def test_networks_without_ports_are_looked_at_as_well(made: Site) -> None:
    """Before the first port is published, one can know."""
    made.client.create_network("other")
    try:
        with given(made, forward("reject")):
            found = [each["what"] for each in made.client.doctor()["findings"]]
            assert any(each.startswith("ports published by NAT would not") for each in found)
    finally:
        made.client.remove_network("other")


def test_ufw_as_debian_ships_it(made: Site, tmp_path: Path) -> None:
    """Its own words mend both: what is forwarded, and what the host takes in."""
    ufw = Ufw(made.lab.namespaces["host"], tmp_path)
    with ExitStack() as stack:
        stack.callback(run, made, CLEAN)
        ufw("allow 22/tcp")
        stack.enter_context(ufw.enabled())
        for port, command in ((NAT, "ufw route allow"), (RELAY, "ufw allow")):
            assert not reached(made, port)
            (problem,) = problems(made, port)
            assert problem["mend"].startswith(command)
            ufw(problem["mend"].removeprefix("ufw "))
            assert problems(made, port) == []
            assert reached(made, port)
        for denied in ("8082/tcp", "8082", "proto tcp from 10.9.0.0/24 to any"):
            ufw(f"delete allow {RELAY}/tcp")
            ufw(f"prepend deny {denied}")
            (problem,) = problems(made, RELAY)
            assert "chain ufw-user-input" in problem["where"]
            assert not reached(made, RELAY)
            for command in problem["mend"].split("; "):
                ufw(command.removeprefix("ufw "))
            assert problems(made, RELAY) == []
            assert reached(made, RELAY)


def test_firewalld_as_debian_ships_it(made: Site, tmp_path: Path) -> None:
    """It lets through what was translated; the host's own ports are its zones'."""
    firewalld = Firewalld(made.lab.namespaces["host"], tmp_path / "firewalld")
    with firewalld.running():
        assert problems(made, NAT) == []
        assert reached(made, NAT)
        assert not reached(made, RELAY)
        (problem,) = problems(made, RELAY)
        assert "chain filter_IN_public" in problem["where"]
        for command in problem["mend"].split(" && "):
            firewalld(command.removeprefix("firewall-cmd "))
        assert problems(made, RELAY) == []
        assert reached(made, RELAY)
    run(made, CLEAN)


@pytest.fixture
def on_iptables(tmp_path: Path) -> Iterator[Site]:
    """The same with rules by iptables, which leaves its own empty chains behind."""
    with wired() as lab:
        made = Site(lab, Daemon(lab, tmp_path, ("--firewall", "iptables")))
        made.daemon.start()
        try:
            made.client.create_network("nat", subnets=["10.90.0.0/24"])
            made.add_container("nat1")
            made.publish("nat1", f"{NAT}:80")
            yield made
        finally:
            made.daemon.take_down()


def test_rules_of_ours_on_iptables_are_followed_as_well(on_iptables: Site) -> None:
    """They come first in FORWARD, so its policy doesn't matter; what is before them does."""
    made = on_iptables
    run(made, "iptables -P FORWARD DROP")
    assert told(made, NAT)[0]["what"].endswith("by NAT")
    assert reached(made, NAT)
    for rule in ("HP-USER -s 10.9.0.0/24", "FORWARD -p tcp -m tcp --dport 80"):
        run(made, f"iptables -I {rule} -j DROP")
        assert not reached(made, NAT)
        mended(made, NAT)
        assert reached(made, NAT)
    run(made, "iptables -t nat -I PREROUTING -p tcp --dport 8080 -j ACCEPT")
    assert told(made, NAT)[0]["what"].endswith("by the relay")
    assert reached(made, NAT)


def test_the_command_says_it_with_where_and_what_to_do(made: Site) -> None:
    """A problem is a failure."""
    with given(made, forward("", "drop")):
        said = made.daemon.command("doctor")
        assert said.returncode == 1
        assert "mend: nft insert rule inet others passing ct status dnat accept" in said.stdout
        with made.lab.namespaces["host"].entered():
            nft("delete table inet others")
        assert made.daemon.command("doctor").returncode == 0

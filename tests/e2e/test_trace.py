"""A real packet's story is what became of it, and nothing is left of the telling."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import COMMAND, SILENCE_S, Site, host_probe, site
from tests.e2e.test_doctor import CLEAN, forward, given, run
from tests.netns.namespaces import nft
from tests.relay.waiting import PATIENCE_S, eventually


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A container that is published by NAT, by the relay, and by UDP."""
    with site(tmp_path_factory.mktemp("site")) as made:
        made.client.create_network("nat", subnets=["10.90.0.0/24", "fd90::/64"])
        made.add_container("nat1")
        made.publish("nat1", "8080:80", "5353:53/udp", "8089:89")
        made.publish("nat1", "8082:80", mode="relay")
        try:
            yield made
        finally:
            run(made, CLEAN)


def tables(made: Site) -> list[str]:
    """What is in the host's namespace."""
    with made.lab.namespaces["host"].entered():
        return nft("list", "tables").splitlines()


def story(made: Site, port: int, protocol: str = "tcp", version: int = 4) -> list[str]:
    """What is told of a client's packet, which is sent when somebody listens."""
    address = "0.0.0.0" if version == 4 else "::"
    with made.client.trace(port, protocol=protocol, address=address, seconds=PATIENCE_S) as told:
        assert next(told)["sentence"].startswith("Waiting")
        probe = host_probe("remote", port, version=version, protocol=protocol)
        made.answers(probe, seconds=SILENCE_S)
        return [each["sentence"] for each in told]


@pytest.mark.parametrize(
    ("port", "protocol", "version"), [(8080, "tcp", 4), (8080, "tcp", 6), (5353, "udp", 4)]
)
def test_a_packet_that_arrives_is_followed_there_and_back(
    made: Site, port: int, protocol: str, version: int
) -> None:
    told = story(made, port, protocol, version)
    container = "10.90.0.2" if version == 4 else "[fd90::2]"
    inside = f"{container}:{53 if protocol == 'udp' else 80}"
    assert told[0].endswith(f":{port}/{protocol} comes in by uplink0.")
    assert f"It now goes to {inside}." in told
    assert f"It leaves by hp-nat, to {inside}." in told
    assert any(each.startswith(f"The answer from {inside} ") for each in told)
    assert told[-1].startswith("It leaves by uplink0")
    assert tables(made) == ["table inet hostports"]


def test_a_relayed_packet_ends_at_the_hosts_own_socket(made: Site) -> None:
    told = story(made, 8082)
    assert "It goes to whoever listens on 10.9.0.1:8082 here." in told
    assert any(each.startswith("The answer from 10.9.0.1:8082 ") for each in told)


def test_a_refusal_by_the_container_is_told(made: Site) -> None:
    assert any(each.startswith("A refusal from 10.90.0.2:89 ") for each in story(made, 8089))


@pytest.mark.parametrize(
    ("commands", "end"),
    [
        (forward("", "drop"), "table inet others, chain passing: dropped by its policy."),
        (
            forward("tcp dport 80 counter reject"),
            "table inet others, chain passing: rejected by the rule `tcp dport 80 reject`.",
        ),
        ("iptables -P FORWARD DROP", "table ip filter, chain FORWARD: dropped by its policy."),
    ],
)
def test_a_packet_that_is_dropped_is_followed_to_the_rule(
    made: Site, commands: str, end: str
) -> None:
    with given(made, commands):
        assert story(made, 8080)[-1] == end


@pytest.mark.parametrize(
    "commands",
    [
        "sysctl -qw net.ipv4.ip_forward=0",
        # The strict check wants the way back by the same interface, which a better route denies.
        "sysctl -qw net.ipv4.conf.uplink0.rp_filter=1; ip route add 10.9.0.2/32 dev trust0",
        "ip route add blackhole 10.90.0.2/32",
    ],
    ids=["no router", "reverse path", "no route"],
)
def test_a_packet_that_the_kernel_drops_gets_no_further(made: Site, commands: str) -> None:
    with given(made, commands):
        told = story(made, 8080)
    assert told[-1].startswith("It gets no further: ")
    assert not any(each.startswith("It goes to ") for each in told)


def test_the_command_can_ask_itself(made: Site) -> None:
    """So one sees something without a client."""
    said = made.daemon.command("doctor", "--trace", "10.9.0.1:8080", "--probe")
    assert said.returncode == 0
    assert " to 10.9.0.1:8080/tcp begins on this host." in said.stdout
    assert "It now goes to 10.90.0.2:80." in said.stdout


def test_without_a_firewall_a_packet_is_seen_as_well(tmp_path: Path) -> None:
    """There is no table but the one that marks what is to be told."""
    with site(tmp_path, "--firewall", "none") as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        told = story(made, 8080)
        assert "It goes to whoever listens on 10.9.0.1:8080 here." in told
        assert told[-1].startswith("It leaves by uplink0")
        said = made.daemon.command("doctor", "--trace", "10.9.0.1:8080", "--probe")
        assert " to 10.9.0.1:8080/tcp begins on this host." in said.stdout


def test_nobody_is_waited_for_longer_than_asked(made: Site) -> None:
    said = made.daemon.command("doctor", "--trace", "8080", "--seconds", "0.2")
    assert said.returncode == 0
    assert said.stdout.splitlines()[1].startswith("No packet came")
    assert tables(made) == ["table inet hostports"]


def waits(made: Site) -> subprocess.Popen[str]:
    """A command that waits for a packet, its table being there."""
    words = ["--socket", str(made.daemon.socket), "doctor", "--trace", "8080", "--seconds", "600"]
    with made.lab.namespaces["host"].entered():
        waiting = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True)
    assert waiting.stdout
    assert waiting.stdout.readline().startswith("Waiting")
    assert len(tables(made)) == 2
    return waiting


def test_nothing_is_left_when_the_command_is_interrupted(made: Site) -> None:
    """As by Ctrl-C."""
    with waits(made) as waiting:
        waiting.send_signal(signal.SIGINT)
        waiting.wait(PATIENCE_S)
    eventually(lambda: tables(made) == ["table inet hostports"], "no table of the trace's")


def test_nothing_is_left_when_the_daemon_is_killed(tmp_path: Path) -> None:
    """The kernel takes the table away, and nft doesn't wait for ever."""
    with site(tmp_path) as made:
        before = children(made.daemon.process.pid)
        with waits(made) as waiting:
            ours = children(made.daemon.process.pid) - before
            assert len(ours) == 2
            made.daemon.kill()
            waiting.wait(PATIENCE_S)
        eventually(lambda: len(tables(made)) < 2, "no table of the trace's")
        eventually(lambda: not any(map(runs, ours)), "no process of the trace's")
        made.daemon.start()


def children(pid: int) -> set[int]:
    """The processes that a process has started, by any of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(each) for some in lists for each in some.read_text().split()}


def runs(pid: int) -> bool:
    """Whether there is such a process; what has ended and waits to be asked for runs no more."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False

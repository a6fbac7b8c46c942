"""Ports of running containers come, go, and outlive the daemon: real daemon, relay and rules."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select
from signal import SIGHUP, SIGKILL, SIGTERM
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pyroute2 import IPRoute

from hostports.errors import HostportsError
from hostports.relay.client import RelayClient
from tests.e2e.site import COMMAND, SILENCE_S, Site, host_probe, leftovers, site, wired
from tests.netns.lab import HOST_IPV4, Lab, Probe
from tests.netns.namespaces import nft
from tests.relay.peers import connected
from tests.relay.waiting import PATIENCE_S, eventually


def test_a_dynamic_port_is_the_same_for_both_families(made: Site) -> None:
    """A client that resolves to either family finds one published port."""
    bindings = made.publish("nat1", "80", "81", "53/udp")
    ports = {(each["container_port"], each["host_port"]) for each in bindings}
    assert len(bindings) == 6
    assert len(ports) == 3
    (port,) = (host for container, host in ports if container == 80)
    probes = [host_probe("remote", port, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["nat1", "nat1"]


def test_ports_come_and_go_without_touching_the_others(made: Site) -> None:
    """An established connection goes on while its neighbours change."""
    with made.lab.namespaces["nat2"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    made.publish("nat2", "7000:7000")
    with (
        server,
        connected(made.lab.namespaces["remote"], HOST_IPV4, 7000) as direct,
        connected(made.lab.namespaces["host"], "127.0.0.1", 7000) as relayed,
    ):
        ends = [server.accept()[0] for _ in range(2)]
        made.publish("nat1", "8080:80", "9000-9099:81")
        assert made.answers(host_probe("remote", 8080), host_probe("remote", 9000)) == ["nat1"] * 2
        made.client.unpublish("nat1", ["9000-9099:81"])
        made.client.unpublish("nat1", ["8080:80"])
        assert (
            made.answers(host_probe("remote", 8080), host_probe("remote", 9000)) == ["refused"] * 2
        )
        for end in ends:
            with end:
                end.sendall(b"still here")
        assert direct.recv(100) == relayed.recv(100) == b"still here"


def test_a_port_is_free_at_once_although_old_connections_wait_to_die(made: Site) -> None:
    """In TIME_WAIT, on the host's own socket."""
    for _ in range(3):
        made.publish("nat1", "8080:80")
        for version in (4, 6):
            probe = host_probe("host", 8080, version=version)
            assert made.answers(probe) == ["nat1"]
        made.client.unpublish("nat1", ["8080:80"])


def test_a_datagram_flow_follows_its_port_to_another_container(made: Site) -> None:
    """A client that goes on sending would else be led to the old one by connection tracking."""
    remote = made.lab.namespaces["remote"]
    with connected(remote, HOST_IPV4, 5353, kind=socket.SOCK_DGRAM) as client:
        for name in ("nat1", "nat2", "nat1"):
            made.publish(name, "5353:53/udp")
            client.send(b"who?")
            assert client.recv(100).split()[0] == name.encode()
            made.client.unpublish(name, ["5353:53/udp"])


def test_established_connections_by_nat_end_with_kill_only(made: Site) -> None:
    with made.lab.namespaces["nat1"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    remote = made.lab.namespaces["remote"]
    with server:
        made.publish("nat1", "7000:7000")
        with connected(remote, HOST_IPV4, 7000) as client, server.accept()[0] as end:
            made.client.unpublish("nat1", ["7000:7000"])
            end.sendall(b"still here")
            assert client.recv(100) == b"still here"
        made.publish("nat1", "7000:7000")
        with connected(remote, HOST_IPV4, 7000) as client, server.accept()[0] as end:
            made.client.unpublish("nat1", ["7000:7000"], kill=True)
            client.sendall(b"nobody hears this")
            with pytest.raises(ConnectionError):
                client.recv(100)


def test_routed_bindings_have_no_host_port(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        modes = dict.fromkeys(("gateway_mode_ipv4", "gateway_mode_ipv6"), "routed")
        made.client.create_network("routed", **modes)
        made.add_container("routed1")
        said = made.client.publish("routed1", ["8080:80"])
        assert {each["host_port"] for each in said["bindings"]} == {0}
        assert {each["path"] for each in said["bindings"]} == {"routed"}
        assert any("8080" in each for each in said["warnings"])


def test_a_conflict_names_who_has_the_port(made: Site) -> None:
    made.publish("nat1", "8080:80")
    said = made.daemon.command("publish", "nat2", "8080:80")
    assert (said.returncode, said.stdout) == (4, "")
    assert "endpoint 'nat1'" in said.stderr
    with made.lab.namespaces["host"].entered():
        other = socket.create_server(("0.0.0.0", 8081))
    with other:
        said = made.daemon.command("--json", "publish", "nat2", "8082:80", "8081:81")
    assert said.returncode == 4
    error = json.loads(said.stderr)["error"]
    assert error["code"] == "conflict"
    assert f"(pid {os.getpid()})" in error["message"]
    assert [each["endpoint"] for each in made.client.ports()["bindings"]] == ["nat1"] * 2


def forgetting(binding: dict[str, object]) -> dict[str, object]:
    """A binding without what has passed, as rules that are made anew count anew."""
    return {**binding, "packets": 0, "bytes": 0, "connections": 0}


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_daemon_that_ends_leaves_ports_published_and_the_next_one_takes_them_over(
    made: Site, how: str
) -> None:
    with made.lab.namespaces["nat1"].entered():
        server = socket.create_server(("0.0.0.0", 7000))
    made.publish("nat1", "7000:7000", "8080:80", "5353:53/udp")
    before = list(map(forgetting, made.client.ports()["bindings"]))
    with (
        server,
        connected(made.lab.namespaces["remote"], HOST_IPV4, 7000) as direct,
        connected(made.lab.namespaces["host"], "127.0.0.1", 7000) as relayed,
    ):
        ends = [server.accept()[0] for _ in range(2)]
        {"stop": made.daemon.stop, "kill": made.daemon.kill}[how]()
        assert made.answers(host_probe("remote", 8080), host_probe("host", 8080)) == ["nat1"] * 2
        made.daemon.start()
        assert list(map(forgetting, made.client.ports()["bindings"])) == before
        for end in ends:
            with end:
                end.sendall(b"still here")
        assert direct.recv(100) == relayed.recv(100) == b"still here"
    assert made.answers(host_probe("remote", 5353, protocol="udp")) == ["nat1"]
    with pytest.raises(HostportsError, match="endpoint 'nat1'"):
        made.publish("nat2", "8080:80")


def test_a_relay_that_dies_is_replaced_and_somebody_is_told(made: Site) -> None:
    made.publish("nat1", "8080:80", "5353:53/udp")
    before = list(map(forgetting, made.client.ports()["bindings"]))
    with made.client.events() as events:
        process = RelayClient(made.daemon.folder / "run" / "relay.sock").hello().pid
        os.kill(process, SIGKILL)
        assert next(events)["event"] == "relay.started"
    probes = [Probe("host", "127.0.0.1", 8080), Probe("host", "127.0.0.1", 5353, "udp")]
    assert made.answers(*probes) == ["nat1", "nat1"]
    assert list(map(forgetting, made.client.ports()["bindings"])) == before


def test_a_reload_brings_back_what_somebody_flushed(made: Site) -> None:
    made.publish("nat1", "8080:80")
    probes = [host_probe("remote", 8080), Probe("remote", made.addresses["nat1"][4], 80)]
    with made.lab.namespaces["host"].entered():
        before = nft("-s", "list", "ruleset")
        nft("flush", "ruleset")
        assert made.daemon.command("reload").returncode == 0
        assert nft("-s", "list", "ruleset") == before
    assert made.answers(*probes, seconds=SILENCE_S) == ["nat1", "nothing"]


def test_the_doctor_finds_the_rule_that_is_in_the_way_and_its_mend_helps(made: Site) -> None:
    made.publish("nat1", "8080:80")
    probe = host_probe("remote", 8080)
    assert made.daemon.command("doctor").returncode == 0
    with made.lab.namespaces["host"].entered():
        nft("add table ip filter")
        nft("add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
        assert made.answers(probe, seconds=SILENCE_S) == ["nothing"]
        problem, *_ = made.client.doctor()["findings"]
        assert problem["severity"] == "problem"
        assert "chain FORWARD" in problem["where"]
        subprocess.run(problem["mend"], shell=True, check=True)  # noqa: S602 - as it is told
        assert made.answers(probe) == ["nat1"]
        nft("delete table ip filter")


def test_everything_goes_with_the_endpoint_and_the_network(made: Site) -> None:
    made.publish("nat1", "8080:80", "53:53/udp")
    made.publish("nat2", "9000-9009:80")
    assert made.daemon.command("network", "rm", "nat").returncode == 4
    assert made.daemon.command("network", "rm", "nat", "--force").returncode == 0
    assert made.client.ports()["bindings"] == []
    with made.lab.namespaces["nat1"].entered(), IPRoute() as links:
        assert [each.get_attr("IFLA_IFNAME") for each in links.get_links()] == ["lo"]
    for name in ("nat1", "nat2"):
        assert name not in [each["name"] for each in made.client.endpoints()["endpoints"]]


def test_ports_of_an_internal_network_are_published_to_nobody(made: Site) -> None:
    made.client.remove_endpoint("nat1")
    made.client.create_network("inside", internal=True)
    made.client.add_endpoint("inside", "hidden", netns=made.lab.namespaces["nat1"].name)
    for mode in ("nat", "relay"):
        said = made.client.publish("hidden", ["8080:80"], mode=mode)
        assert said["bindings"] == []
        assert said["warnings"] == ["nothing is published: network 'inside' is internal"]
    probes = [host_probe("remote", 8080, version=of) for of in (4, 6)]
    assert made.answers(*probes) == ["refused"] * 2


def test_a_plan_is_refused_where_the_port_is_somebody_elses(made: Site) -> None:
    with made.lab.namespaces["host"].entered():
        other = socket.create_server(("0.0.0.0", 8080))
    with other, pytest.raises(HostportsError, match=r"held by .* \(pid "):
        made.client.plan("nat1", ["8080:80"])
    with pytest.raises(HostportsError, match="no interface of this host has that address"):
        made.client.plan("nat1", ["203.0.113.9:8080:80"])
    planned = made.client.plan("nat1", ["8080:80"])
    ports = [(each["host_ip"], each["host_port"]) for each in planned["bindings"]]
    assert ports == [("0.0.0.0", 8080), ("::", 8080)]
    assert made.client.ports()["bindings"] == []


def second_folder(made: Site) -> Path:
    return made.daemon.folder / "second"


def sockets_of(made: Site) -> list[Path]:
    """Where the daemon, and the second one, have their API's sockets."""
    return [made.daemon.socket, second_folder(made) / "api.sock"]


def second_daemon(made: Site) -> str:
    """Why a daemon with a record of its own doesn't start in the same network namespace."""
    folder = str(second_folder(made))
    paths = ["--state", folder, "--run", folder, "--socket", f"{folder}/api.sock"]
    said = made.daemon.command("daemon", *paths)
    assert (said.returncode, said.stdout) == (4, "")
    assert said.stderr.startswith("hostports: ")
    return said.stderr


def test_two_daemons_would_undo_each_others_rules_so_one_does_not_start(made: Site) -> None:
    made.publish("nat1", "8080:80")
    said = second_daemon(made)
    assert f"pid {made.daemon.process.pid}" in said
    assert f"use --socket {made.daemon.socket}, or stop it" in said
    assert not second_folder(made).exists()
    made.daemon.stop()
    assert "doesn't run" in second_daemon(made)
    assert not any(socket.exists() for socket in sockets_of(made))
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]


def test_a_start_tells_how_much_it_brings_back_before_it_serves(
    made: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    made.daemon.stop()
    made.daemon.start()
    assert "bringing back" not in capfd.readouterr().err
    count = len(made.publish("nat1", "8080-8089:80-89"))
    made.daemon.stop()
    made.daemon.start()
    assert f" INFO bringing back {count} port bindings\n" in capfd.readouterr().err


def fetched(lab: Lab, port: int) -> bytes:
    """The first line of a web server's answer; nothing while nobody answers."""
    try:
        with connected(lab.namespaces["remote"], HOST_IPV4, port) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(100).partition(b"\r\n")[0]
    except ConnectionError:
        return b""


def test_run_needs_no_daemon_and_leaves_nothing(tmp_path: Path) -> None:
    with wired() as lab, lab.namespaces["host"].entered():
        command = [*COMMAND, "run", "-p", "8080:80", "-p", "5353:53/udp", "--"]
        server = [sys.executable, "-m", "http.server", "80", "--directory", str(tmp_path)]
        process = subprocess.Popen([*command, *server], stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: fetched(lab, 8080), "a page")
        finally:
            process.send_signal(SIGTERM)
            process.wait(PATIENCE_S)
        assert leftovers(lab) == []


def test_a_second_run_is_told_of_the_first_ones_daemon_and_how_both_can_run() -> None:
    with wired() as lab, lab.namespaces["host"].entered():
        first = [*COMMAND, "run", "--", "sh", "-c", "echo begun; read line"]
        with subprocess.Popen(first, stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "begun\n"
            second = [*COMMAND, "run", "--", "true"]
            said = subprocess.run(second, capture_output=True, text=True, check=False)
            listed = [*COMMAND, "ls"]
            asked = subprocess.run(listed, capture_output=True, text=True, check=False)
            process.communicate("\n", PATIENCE_S)
    assert said.returncode == 1
    assert "another daemon (pid " in said.stderr
    assert "api.sock" in said.stderr
    assert "; for several `hostports run`, start `hostports daemon` first" in said.stderr
    assert asked.returncode == 3
    assert ", or ask the one that is there with --socket /" in asked.stderr


def test_run_uses_the_daemon_that_is_there_and_gives_its_commands_status(made: Site) -> None:
    said = made.daemon.command(
        "run", "-p", "8080:80", "--network", "nat", "--", "sh", "-c", "exit 7"
    )
    assert said.returncode == 7
    names = [each["name"] for each in made.client.endpoints()["endpoints"]]
    assert names == ["nat1", "nat2"]


def test_run_takes_down_what_its_daemon_left_when_that_was_killed(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    script = f"ps -o ppid= -p $$ > {told}; while :; do sleep 0.1; done"
    with wired() as lab, lab.namespaces["host"].entered():
        command = [*COMMAND, "run", "-p", "8080:80", "--", "sh", "-c", script]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        eventually(lambda: told.exists() and told.read_text(), "the command runs")
        (daemon,) = children(process.pid, "daemon")
        os.kill(daemon, SIGKILL)
        process.send_signal(SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S * 2)
        assert "private daemon" in said
        assert leftovers(lab) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_stays_of_a_run_that_was_killed(
    monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    """Also while its daemon begins."""
    with (
        TemporaryDirectory(prefix="hp-") as temporary,
        wired() as lab,
        lab.namespaces["host"].entered(),
    ):
        monkeypatch.setenv("TMPDIR", temporary)
        command = [*COMMAND, "run", "-p", "8080:80", "--", "sh", "-c", "echo begun; sleep 100"]
        with subprocess.Popen(command, stdout=PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            if at_once:
                eventually(lambda: children(process.pid, "daemon"), "its daemon")
            else:
                assert process.stdout.readline() == b"begun\n"
            process.kill()
        eventually(lambda: not any(Path(temporary).iterdir()), "its directory's end")
        assert leftovers(lab) == []


def children(pid: int, word: str) -> list[int]:
    """The processes that a process has started with a word in their command line."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(each) for each in found if word in Path(f"/proc/{each}/cmdline").read_text().split("\0")
    ]


def test_what_is_closed_after_a_flush_is_not_opened_by_the_next_reload(made: Site) -> None:
    """Somebody flushes the rules, an endpoint goes, and another one gets its address."""
    made.publish("nat1", "8080:80")
    with made.lab.namespaces["host"].entered():
        nft("flush", "ruleset")
    assert made.daemon.command("ls").returncode == 0
    assert made.daemon.command("endpoint", "rm", "nat1").returncode == 0
    assert made.daemon.command("reload").returncode == 0
    made.add_container("nat1")
    assert made.answers(host_probe("remote", 8080), seconds=SILENCE_S) == ["refused"]
    made.publish("nat1", "8080:81")
    assert made.answers(host_probe("remote", 8080)) == ["nat1"]


def test_down_on_exit_leaves_nothing_although_somebody_deleted_the_rules(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        for name in ("nat1", "other1"):
            made.client.create_network(name.rstrip("1"))
            made.add_container(name)
            made.publish(name, "80")
        made.daemon.stop()
        made.daemon.start("--down-on-exit")
        with made.lab.namespaces["host"].entered():
            nft("delete", "table", "inet", "hostports")
        made.daemon.process.send_signal(SIGTERM)
        made.daemon.process.wait(PATIENCE_S)
        assert leftovers(made.lab) == []


def test_listing_goes_on_while_ports_come_and_go(made: Site) -> None:
    made.publish("nat1", "8080:80")
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(come_and_go, made)
        while not changing.done():
            listed = made.client.ports()["bindings"]
            assert {each["host_port"] for each in listed} >= {8080}
        changing.result()


def come_and_go(made: Site) -> None:
    for _ in range(30):
        made.publish("nat2", "9000-9009:9000-9009")
        made.client.unpublish("nat2", ["9000-9009:9000-9009"])


def test_removals_tell_of_the_ports_that_went_along(made: Site) -> None:
    made.publish("nat1", "8080:80")
    made.publish("nat2", "8081:80")
    with made.client.events() as events:
        made.client.remove_endpoint("nat1")
        made.client.remove_network("nat", force=True)
        told = [next(events) for _ in range(4)]
    assert [(each["event"], each["endpoint"]) for each in told] == [
        ("ports.unpublished", "nat1"),
        ("endpoint.removed", "nat1"),
        ("ports.unpublished", "nat2"),
        ("network.removed", ""),
    ]


def test_the_configuration_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hostports.toml"
    file.write_text("")
    with site(tmp_path, "--config", str(file)) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        direct = Probe("remote", made.addresses["nat1"][4], 80)
        assert made.answers(direct, seconds=SILENCE_S) == ["nothing"]
        file.write_text("allow_direct_routing = true\nrelay = false\n")
        reread(made)
        assert made.answers(direct, Probe("host", "127.0.0.1", 8080)) == ["nat1", "nat1"]
        file.write_text("allow_direct_routing = 7\n")
        made.daemon.process.send_signal(SIGHUP)
        said = ""
        while "direct_routing = 7" not in said:
            said += capfd.readouterr().err
        assert f"settings stay as they are, those of {file} can't be taken: " in said
        assert made.client.health()["status"] == "ok"
        assert made.answers(direct) == ["nat1"]
        file.write_text("")


#: A daemon that is told to reload when it has begun to bring back what is recorded.
_TOLD_EARLY = """
import os, signal, sys
from hostports.daemon.compose import compose
from hostports.daemon.main import run

def told_early(config):
    os.kill(os.getpid(), signal.SIGHUP)
    return compose(config)

sys.exit(run({"state": sys.argv[1], "run": sys.argv[1]}, told_early))
"""


def test_a_daemon_that_is_told_to_reload_while_it_starts_does_so_when_it_is_up(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", _TOLD_EARLY, str(tmp_path)]
    with wired() as lab, lab.namespaces["host"].entered():
        with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
            assert process.stderr
            said = iter(process.stderr.readline, "")
            assert any("configuration read again" in line for line in said)
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        leave = [*COMMAND, "daemon", "--state", str(tmp_path), "--run", str(tmp_path)]
        with subprocess.Popen([*leave, "--down-on-exit"], stdout=PIPE, text=True) as last:
            assert last.stdout
            assert last.stdout.readline() == "ready\n"
            last.terminate()
        assert leftovers(lab) == []


def test_no_daemon_dies_of_it_before_it_has_a_configuration(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        made.daemon.stop()
        made.daemon.launch()
        eventually(lambda: minds_sighup(made.daemon.process.pid), "the command knows what it is")
        made.daemon.process.send_signal(SIGHUP)
        assert made.daemon.serves()


def minds_sighup(pid: int) -> bool:
    """Whether a process blocks or handles it (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    masks = (line.split()[1] for line in lines if line.startswith(("SigBlk:", "SigCgt:")))
    return any(int(each, 16) >> (SIGHUP - 1) & 1 for each in masks)


def reread(made: Site) -> None:
    """Let the daemon read its configuration again, and wait until it has."""
    with made.client.events() as events:
        made.daemon.process.send_signal(SIGHUP)
        assert next(events)["event"] == "firewall.rebuilt"


@pytest.mark.parametrize("lost", ["rm {}/run/relay.sock", "rm -r {}/run", "true"])
def test_a_relay_whose_socket_is_lost_or_elsewhere_serves_nothing_that_is_unpublished(
    made: Site, lost: str
) -> None:
    folder = made.daemon.folder
    made.publish("nat1", "8080:80", "5353:53/udp")
    before = made.client.ports()["bindings"]
    with RelayClient(folder / "run" / "relay.sock") as client:
        former = client.hello().pid
    made.daemon.stop()
    subprocess.run(lost.format(folder).split(), check=True)
    if lost == "true":
        made.daemon.run = folder / "elsewhere"
    made.daemon.start()
    eventually(lambda: not Path(f"/proc/{former}").exists(), "the former relay has ended")
    assert [each | {"created": ""} for each in made.client.ports()["bindings"]] == [
        each | {"created": ""} for each in before
    ]
    probes = [Probe("host", "127.0.0.1", 8080), host_probe("remote", 8080)]
    assert made.answers(*probes) == ["nat1"] * 2
    made.client.unpublish("nat1")
    assert made.answers(*probes) == ["refused"] * 2
    if lost == "true":
        made.daemon.stop()
        made.daemon.run = folder / "run"
        made.daemon.start()


def test_a_daemon_without_a_relay_ends_the_one_that_is_there_and_has_its_ports(made: Site) -> None:
    made.publish("nat1", "8080:80", "5353:53/udp")
    before = made.client.ports()["bindings"]
    control = made.daemon.folder / "run" / "relay.sock"
    with RelayClient(control) as client, os.fdopen(os.pidfd_open(client.hello().pid)) as ended:
        made.daemon.stop()
        made.daemon.start("--no-relay", "--down-on-exit")
        assert select([ended], [], [], PATIENCE_S)[0]
    assert not control.exists()
    after = made.client.ports()["bindings"]
    assert [where(each) for each in after] == [where(each) for each in before]
    probes = [host_probe("remote", 8080), host_probe("remote", 5353, protocol="udp")]
    assert made.answers(*probes) == ["nat1", "nat1"]
    # An endpoint that was wired up when there was a relay reaches its own port.
    assert made.answers(host_probe("nat1", 8080)) == ["nat1"]
    made.daemon.stop()
    assert leftovers(made.lab) == []


def where(binding: dict[str, Any]) -> tuple[str, str, int]:
    return binding["proto"], binding["host_ip"], binding["host_port"]


def test_down_on_exit_leaves_no_socket_of_the_relay(made: Site) -> None:
    made.daemon.stop()
    made.daemon.start("--down-on-exit")
    made.daemon.stop()
    assert not (made.daemon.folder / "run" / "relay.sock").exists()

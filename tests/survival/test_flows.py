"""What connection tracking remembers ends with what it was made by, also after a kill."""

import socket
from contextlib import ExitStack
from pathlib import Path

from hostports.client.errors import BadAnswer, DaemonUnreachable
from tests.e2e.site import SILENCE_S, Site, site
from tests.netns.flows import tracked
from tests.netns.lab import HOST_IPV4
from tests.relay.peers import connected
from tests.relay.waiting import PATIENCE_S
from tests.survival.host import DOOMED


def answered(client: socket.socket) -> str:
    """Who answers a datagram; nobody, after a while."""
    try:
        client.send(b"who?")
        return client.recv(100).decode().split()[0]
    except (TimeoutError, ConnectionRefusedError):
        return "nobody"


def test_a_flow_ends_with_its_port_though_the_daemon_was_killed_before_it_could_forget_it(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as made, ExitStack() as stack:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.daemon.stop()
        # The second time is after the port's rules have gone.
        made.daemon.launch(program=(*DOOMED, "conntrack.forget:2:before"))
        assert made.daemon.serves()
        made.publish("nat1", "5353:53/udp")
        where = made.lab.namespaces["remote"], HOST_IPV4, 5353
        client = stack.enter_context(connected(*where, kind=socket.SOCK_DGRAM))
        assert answered(client) == "nat1"
        try:
            made.client.unpublish("nat1")
        except (BadAnswer, DaemonUnreachable):
            made.daemon.process.wait(PATIENCE_S)
        client.settimeout(SILENCE_S)
        assert answered(client) == "nat1"
        made.daemon.start()
        assert answered(client) == "nobody"


def test_a_flow_goes_on_where_its_port_leads_when_the_daemon_is_started_anew(
    tmp_path: Path,
) -> None:
    """The client is the same for the container before and after."""
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "5353:53/udp")
        where = made.lab.namespaces["remote"], HOST_IPV4, 5353
        with connected(*where, kind=socket.SOCK_DGRAM) as client:
            assert answered(client) == "nat1"
            before = to_port(made, 5353)
            made.daemon.kill()
            made.daemon.start()
            assert to_port(made, 5353) == before == [(HOST_IPV4, 5353)]
            assert answered(client) == "nat1"


def test_who_gets_an_address_gets_nothing_of_who_had_it_before(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        with made.lab.namespaces["nat1"].entered():
            server = socket.create_server(("0.0.0.0", 7000))
        made.publish("nat1", "7000:7000")
        with server, connected(made.lab.namespaces["remote"], HOST_IPV4, 7000):
            made.client.remove_endpoint("nat1")
            assert to_port(made, 7000) == [(HOST_IPV4, 7000)]
            before = made.addresses["nat1"]
            made.add_container("nat2")
            assert made.addresses["nat2"] == before
            assert to_port(made, 7000) == []


def to_port(made: Site, port: int) -> list[tuple[str, int]]:
    """The destinations of flows to a port that the host tracks."""
    with made.lab.namespaces["host"].entered():
        return [each for each in tracked() if each[1] == port]

"""The engine on real sockets and the real firewall: a port published, used, and taken back."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hostports import Edges, Engine, PublishRequest, parse_spec
from hostports.core.rules.data import Settings
from hostports.errors import FirewallFailed, HostPortInUse
from hostports.linux.facts import LinuxHostFacts
from hostports.linux.nftables import NftablesFirewall
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.firewall import FirewallChange
from tests.netns.lab import HOST_IPV4, HOST_IPV6, NETWORKS, Lab, Probe, endpoint, lab
from tests.netns.namespaces import nft

#: Seconds to wait for an answer that should come.
PATIENCE = 10.0
WEB = endpoint("a1")


class Host:
    """An engine without a relay on the lab's host; it works in the host's namespace."""

    def __init__(self, made: Lab) -> None:
        self.lab = made
        self.sockets = LinuxHostSockets()
        self.firewall = NftablesFirewall(Settings(relay=False))
        self.firewall.apply(FirewallChange(opened=(NETWORKS["A"], WEB)))
        self.engine = Engine(Edges(LinuxHostFacts(), self.sockets, self.firewall))

    def answers(self, port: int) -> list[str]:
        probes = [Probe("client", ip, port) for ip in (HOST_IPV4, HOST_IPV6)]
        return [answer.partition(" ")[0] for answer in self.lab.ask(probes, PATIENCE)]


@pytest.fixture
def host() -> Iterator[Host]:
    with lab() as made:
        made.serve("a1", "a1", [80])
        with made.namespaces["host"].entered():
            host = Host(made)
            yield host
            host.engine.unpublish(host.engine.published())
            assert host.sockets.dump() == []


def test_a_published_port_is_reached_until_it_is_unpublished(host: Host) -> None:
    before = nft("-s", "list", "ruleset")
    assert host.answers(8080) == ["refused", "refused"]
    bindings = host.engine.publish(PublishRequest(WEB, parse_spec("8080:80"))).bindings
    assert host.answers(8080) == ["a1", "a1"]
    host.engine.unpublish(bindings)
    assert host.answers(8080) == ["refused", "refused"]
    assert nft("-s", "list", "ruleset") == before


def test_a_request_that_fails_late_leaves_no_rule_and_no_socket(host: Host) -> None:
    before = nft("-s", "list", "ruleset")
    specs = [*parse_spec("8000-8099:8000-8099"), *parse_spec("9000:80")]
    with socket.socket() as other:
        other.bind(("0.0.0.0", 9000))
        other.listen()
        with pytest.raises(HostPortInUse):
            host.engine.publish(PublishRequest(WEB, specs))
    unknown = replace(WEB, network=NETWORKS["B"])
    with pytest.raises(FirewallFailed):
        host.engine.publish(PublishRequest(unknown, specs))
    assert nft("-s", "list", "ruleset") == before
    assert host.sockets.dump() == []
    assert host.engine.book.host.dump() == {}


def test_a_thousand_ports_come_and_go_together(host: Host) -> None:
    before = nft("-s", "list", "ruleset")
    specs = parse_spec("20000-20999:80") + parse_spec("21000-21999:20000-20999")
    bindings = host.engine.publish(PublishRequest(WEB, specs)).bindings
    assert len(bindings) == 2002
    assert host.answers(20000) == ["a1", "a1"]
    host.engine.unpublish(bindings)
    assert nft("-s", "list", "ruleset") == before

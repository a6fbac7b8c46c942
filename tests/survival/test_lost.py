"""A port that somebody else took while nobody of us had it: told, kept as wanted, and regained."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site, host_probe, site
from tests.e2e.taken import taken
from tests.netns.lab import Probe


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """A network with a container whose ports are published."""
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80", "8081:81")
        yield made


def told(events: Iterator[dict[str, Any]], what: str) -> list[int]:
    """Wait for an event; the host ports that it is about."""
    found = next(each for each in events if each["event"] == what)
    return [each["host_port"] for each in found["bindings"]]


def listed(made: Site) -> set[tuple[str, int]]:
    return {(each["host_ip"], each["host_port"]) for each in made.client.ports()["bindings"]}


def findings(made: Site, severity: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.client.doctor()["findings"]
    return [each for each in found if each["severity"] == severity]


ALL = {(ip, port) for ip in ("0.0.0.0", "::") for port in (8080, 8081)}


def test_it_comes_back_when_it_is_free_and_all_others_are_up_meanwhile(made: Site) -> None:
    with made.client.events() as events:
        with taken(made, 8080):
            assert told(events, "ports.lost") == [8080]
            assert listed(made) == ALL - {("0.0.0.0", 8080)}
            assert made.answers(host_probe("host", 8081)) == ["nat1"]
            (problem,) = findings(made, "problem")
            assert "0.0.0.0:8080" in problem["what"]
            assert f"(pid {os.getpid()})" in problem["what"]
        assert told(events, "ports.regained") == [8080]
    assert listed(made) == ALL
    probes = [host_probe("remote", 8080), Probe("host", "127.0.0.1", 8080)]
    assert made.answers(*probes) == ["nat1", "nat1"]
    assert findings(made, "problem") == []


def test_it_is_lost_at_a_start_as_well(made: Site) -> None:
    with taken(made, 8080):
        made.daemon.kill()
        made.daemon.start()
        assert listed(made) == ALL - {("0.0.0.0", 8080)}
    with made.client.events() as events:
        # A change is reason enough to try again.
        made.publish("nat1", "8082:80")
        assert told(events, "ports.regained") == [8080]
    assert listed(made) > ALL


def test_what_is_unpublished_while_it_is_lost_does_not_come_back(made: Site) -> None:
    with made.client.events() as events:
        with taken(made, 8080):
            assert told(events, "ports.lost") == [8080]
            made.client.unpublish("nat1", ["8080:80"])
        made.publish("nat1", "8082:80")
        assert told(events, "ports.published") == [8082] * 2
    assert {port for _, port in listed(made)} == {8081, 8082}

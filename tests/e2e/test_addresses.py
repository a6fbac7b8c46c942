"""A host address that isn't there yet, and may be waited for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from hostports.client.errors import ApiError
from tests.e2e.site import Site, site
from tests.netns.lab import Probe
from tests.relay.waiting import PATIENCE_S

LATER = "10.9.0.77"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("addresses")
    with site(folder) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        yield made


def test_an_address_that_never_comes_is_an_error_and_nothing_is_left(made: Site) -> None:
    for seconds in (0, 0.3):
        with pytest.raises(ApiError, match=f"{LATER}.*no interface of this host has that address"):
            made.client.publish("nat1", ["8080:80", f"{LATER}:8081:80"], wait_address=seconds)
        assert made.client.ports()["bindings"] == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"publish nat1 {LATER}:8081:80", True),
        (f"publish nat1 {LATER}:8081:80 --wait-address 0.3", False),
        ("publish nat1 none0:8081:80", True),
        ("plan nat1 none0:8081:80", False),
        (f"run --network nat -p {LATER}:8081:80 -- true", True),
        (f"run --network nat -p {LATER}:8081:80 --wait-address 0.3 -- true", False),
    ],
)
def test_only_who_could_wait_and_did_not_is_told_how(
    made: Site, command: str, *, told: bool
) -> None:
    said = made.daemon.command(*command.split())
    assert said.returncode == 2
    assert ("wait with --wait-address" in said.stderr) is told


def test_an_address_is_waited_for_while_other_requests_go_on(made: Site) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            made.daemon.command,
            *("publish", "nat1", f"{LATER}:8081:80", "--wait-address", str(PATIENCE_S)),
        )
        for port in (9001, 9002, 9003):
            made.client.publish("nat1", [f"{port}:80"])
        assert not waiting.done()
        with made.lab.namespaces["host"].entered(), IPRoute() as links:
            (index,) = links.link_lookup(ifname="uplink0")
            links.addr("add", index=index, address=LATER, prefixlen=24)
        said = waiting.result(PATIENCE_S)
    assert (said.returncode, said.stdout) == (0, f"80/tcp -> {LATER}:8081\n")
    assert made.answers(Probe("remote", LATER, 8081)) == ["nat1"]

"""What a relay says on standard error: not too often, and never at the cost of traffic."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hostports.model.port import PortBinding, Protocol
from hostports.relay.client import RelayClient
from hostports.relay.log import Log
from tests.relay.bare import started
from tests.relay.inprocess import HandTurned
from tests.relay.lab import CONTAINER_IPV4, HOST_IPV4, Lab
from tests.relay.peers import connected, exchange, fate
from tests.relay.relays import RunningRelay
from tests.relay.services import serving
from tests.relay.waiting import PATIENCE_S

WEB, DNS = "web", "dns"
#: Subjects that are remembered.
MOST = 10_000


class Heard:
    """What has been said since it was asked last."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def lines(self) -> list[str]:
        return self._capture.readouterr().err.splitlines()


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str]) -> Heard:
    return Heard(capfd)


@pytest.fixture
def poller() -> HandTurned:
    return HandTurned()


def test_a_warning_is_one_line_with_the_level_that_journald_reads(
    poller: HandTurned, heard: Heard
) -> None:
    Log(poller).warn("0.0.0.0:8080", "the container can't be reached")
    assert heard.lines() == ["<4>0.0.0.0:8080: the container can't be reached"]


def test_a_subjects_warning_is_repeated_once_a_minute_at_most(
    poller: HandTurned, heard: Heard
) -> None:
    log = Log(poller)
    said = []
    for _ in range(130):
        log.warn(WEB, "is gone")
        said += heard.lines()
        poller.pass_time(1)
    assert said == ["<4>web: is gone"] * 3


def test_another_subject_or_another_text_is_no_repetition(poller: HandTurned, heard: Heard) -> None:
    log = Log(poller)
    for subject, text in [(WEB, "is gone"), (DNS, "is gone"), (WEB, "is full")] * 2:
        log.warn(subject, text)
    assert heard.lines() == ["<4>web: is gone", "<4>dns: is gone", "<4>web: is full"]


def test_of_more_subjects_than_are_remembered_the_oldest_is_told_of_anew(
    poller: HandTurned, heard: Heard
) -> None:
    log = Log(poller)
    for number in range(MOST + 1):
        log.warn(str(number), "is gone")
    heard.lines()
    for number in (MOST, 1, 0):
        log.warn(str(number), "is gone")
    assert heard.lines() == ["<4>0: is gone"]


def full_pipe() -> tuple[int, int]:
    """Both ends of a pipe that takes no more; who writes to it has to wait."""
    outlet, inlet = os.pipe()
    os.set_blocking(inlet, False)
    with suppress(BlockingIOError):
        while True:
            os.write(inlet, bytes(4096))
    os.set_blocking(inlet, True)
    return outlet, inlet


@contextmanager
def speaking_to(lab: Lab, path: Path, inlet: int) -> Iterator[RunningRelay]:
    """A relay whose standard error is a pipe of ours."""
    with started(lab.host, path, stderr=inlet) as process, RelayClient(path) as control:
        os.close(inlet)
        yield RunningRelay(lab, control, process.pid)
        control.stop()
        assert process.wait(PATIENCE_S) == 0


def let_it_warn(relay: RunningRelay, port: int) -> PortBinding:
    """Publish a port that nobody serves, and connect to it."""
    binding = relay.publish(Protocol.TCP, "0.0.0.0", port, CONTAINER_IPV4, port)
    assert fate(lambda: connected(relay.lab.client, HOST_IPV4, port)) == "reset"
    assert relay.counters(binding).failed == 1
    return binding


def test_a_standard_error_that_is_full_keeps_no_traffic_waiting(
    lab: Lab, control_path: Path
) -> None:
    """What can't be said is lost; the next line is heard again, once somebody reads."""
    outlet, inlet = full_pipe()
    with (
        os.fdopen(outlet, "rb", buffering=0) as read,
        speaking_to(lab, control_path, inlet) as relay,
        serving(relay) as service,
    ):
        pair = service.join()
        for port in range(8001, 8006):
            let_it_warn(relay, port)
            assert exchange(*pair)
        said = read.read(1 << 20)
        assert set(said) == {0}
        binding = let_it_warn(relay, 8006)
        assert read.read(1 << 20).startswith(f"<4>{binding}: ".encode())


def test_a_standard_error_that_nobody_reads_any_more_does_not_end_the_relay(
    lab: Lab, control_path: Path
) -> None:
    outlet, inlet = os.pipe()
    os.close(outlet)
    with speaking_to(lab, control_path, inlet) as relay, serving(relay) as service:
        pair = service.join()
        for port in range(8001, 8006):
            let_it_warn(relay, port)
            assert exchange(*pair)

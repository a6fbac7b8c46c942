"""A relay under test: a process in the lab's host, what it serves, and how it stands."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from subprocess import Popen
from typing import Final

from hostports.interfaces import RelayedBinding
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import PortBinding, Protocol
from hostports.model.relay import RelayCounters, RelaySettings
from hostports.relay.client import RelayClient
from hostports.relay.launch import start_relay
from tests.relay.lab import Lab
from tests.relay.proc import Process
from tests.relay.waiting import PATIENCE_S, eventually

#: Descriptors that a relay may keep: pipes for the next bulk transfer, and one in reserve.
KEPT: Final = Counter({"pipe": 64, "/dev/null": 1})


class RunningRelay:
    """A relay, and the ports that it serves."""

    def __init__(self, lab: Lab, control: RelayClient, pid: int) -> None:
        self.lab = lab
        self.control = control
        self.process = Process(pid)
        self._sockets = LinuxHostSockets()
        self._published: list[PortBinding] = []

    def publish(
        self,
        protocol: Protocol,
        host_ip: str,
        host_port: int,
        container_ip: str,
        container_port: int,
        *,
        allow_from: Sequence[str] = (),
    ) -> PortBinding:
        """Open a port as the engine does: bind, listen, and hand the socket over."""
        binding = PortBinding(
            network="lab",
            endpoint="web",
            protocol=protocol,
            host_ip=ip_address(host_ip),
            host_port=host_port,
            container_ip=ip_address(container_ip),
            container_port=container_port,
            allow_from=tuple(ip_network(each) for each in allow_from),
        )
        with self.lab.host.entered():
            self._sockets.reserve(binding.socket)
            self._sockets.listen(binding.socket, relayed=True)
        self.control.add([RelayedBinding(binding, self._sockets.fileno(binding.socket))])
        self._sockets.release(binding.socket)
        self._published.append(binding)
        return binding

    def counters(self, binding: PortBinding) -> RelayCounters:
        """What a binding has relayed so far."""
        (found,) = [each for each in self.control.held() if each.binding == binding]
        return found.counters

    def unpublish_all(self) -> None:
        """Stop serving; what is left open then is a leak."""
        self.control.remove(self._published)
        self._published.clear()


@contextmanager
def running_relay(
    lab: Lab, path: Path, settings: RelaySettings | None = None
) -> Iterator[RunningRelay]:
    """A relay in the lab's host, started with the descriptors that this process may have."""
    with lab.host.entered():
        process = start_relay(path, settings or RelaySettings())
    with _ended(process), watched(lab, path, process.pid) as relay:
        yield relay


@contextmanager
def watched(lab: Lab, path: Path, pid: int) -> Iterator[RunningRelay]:
    """A relay that somebody started; after its ports are gone, nothing of them may be left open."""
    with RelayClient(path) as control:
        relay = RunningRelay(lab, control, pid)
        assert control.held() == []  # it has accepted us, so that we are counted
        before = relay.process.descriptors()
        yield relay
        relay.unpublish_all()
        with suppress(TimeoutError):
            eventually(lambda: not _leaked(relay, before), "all given back")
        if leaked := _leaked(relay, before):
            raise AssertionError(f"the relay has still open {leaked}")
        control.stop()


def _leaked(relay: RunningRelay, before: Counter[str]) -> Counter[str]:
    """Descriptors that are still open, besides what a relay keeps for bad and for better times."""
    return relay.process.descriptors() - before - KEPT


@contextmanager
def _ended(process: "Popen[bytes]") -> Iterator[None]:
    """A relay that was told to stop ends by itself; after a failure it is killed."""
    try:
        yield
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()

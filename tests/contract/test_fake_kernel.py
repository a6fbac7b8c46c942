"""The fake kernel's table against Linux, by whatever two owners of sockets may do."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostports.errors import HostportsError
from hostports.interfaces import HostSockets
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import HeldSocket, Protocol, SocketAddress
from hostports.testing import FakeHostSockets, FakeKernel
from tests.netns.namespaces import namespace

ON_HOST = ["127.0.0.1/8", "192.0.2.10/24", "::1/128", "fd00:10::2/64"]

#: Few, so that they meet; one of them is on no interface.
IPS = ["0.0.0.0", "127.0.0.1", "192.0.2.10", "203.0.113.9", "::", "::1", "fd00:10::2"]

#: Who, what, and with which socket.
Step = tuple[int, str, SocketAddress]

addresses = st.builds(
    SocketAddress,
    st.sampled_from([Protocol.TCP, Protocol.UDP]),
    st.sampled_from(IPS).map(ip_address),
    st.sampled_from([8080, 8081]),
)
steps = st.tuples(
    st.integers(0, 1), st.sampled_from(["reserve", "reserve", "listen", "release"]), addresses
)


class Owner:
    """One owner's sockets; a step that makes no sense for them does nothing."""

    def __init__(self, sockets: FakeHostSockets | LinuxHostSockets) -> None:
        self.sockets = sockets

    def take(self, step: str, address: SocketAddress) -> str:
        held = {each.address: each for each in self.sockets.dump()}.get(address)
        try:
            _STEPS[step](self.sockets, address, held)
        except HostportsError as error:
            return type(error).__name__
        return "done"


def _reserve(sockets: HostSockets, address: SocketAddress, held: HeldSocket | None) -> None:
    if held is None:
        sockets.reserve(address)


def _listen(sockets: HostSockets, address: SocketAddress, held: HeldSocket | None) -> None:
    if held is not None:
        sockets.listen(address, relayed=False)


def _release(sockets: HostSockets, address: SocketAddress, _: HeldSocket | None) -> None:
    sockets.release(address)


_STEPS = {"reserve": _reserve, "listen": _listen, "release": _release}


@pytest.fixture(scope="module")
def host() -> Iterator[None]:
    with namespace(ON_HOST) as made, made.entered():
        yield


@given(st.lists(steps, max_size=30))
@settings(max_examples=200)
def test_the_fake_kernel_answers_as_linux_does(host: None, script: list[Step]) -> None:  # noqa: ARG001
    kernel = FakeKernel(ip_address(each.partition("/")[0]) for each in ON_HOST)
    fakes = [Owner(FakeHostSockets(kernel)) for _ in range(2)]
    reals = [Owner(LinuxHostSockets()) for _ in range(2)]
    try:
        for who, step, address in script:
            assert fakes[who].take(step, address) == reals[who].take(step, address)
        for fake, real in zip(fakes, reals, strict=True):
            assert fake.sockets.dump() == real.sockets.dump()
    finally:
        for real in reals:
            for held in real.sockets.dump():
                real.sockets.release(held.address)

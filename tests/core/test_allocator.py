from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hostports.core.allocator import PortAllocator
from hostports.errors import NoPortFree, PortPublished
from hostports.model.address import IPAddress, unmapped
from hostports.model.port import PortRange, Protocol

WILDCARD, LOOPBACK, LAN = (ip_address(text) for text in ("0.0.0.0", "127.0.0.1", "192.0.2.10"))
WILDCARD6, LAN6 = ip_address("::"), ip_address("fd00::2")


@pytest.fixture
def allocator() -> PortAllocator:
    return PortAllocator()


def taken(allocator: PortAllocator, *ports: int, ip: IPAddress = WILDCARD) -> None:
    for port in ports:
        allocator.allocate(Protocol.TCP, [ip], PortRange.single(port), "web")


def test_a_range_goes_on_after_the_port_given_last_and_wraps(allocator: PortAllocator) -> None:
    pool = PortRange(8000, 8002)
    given = [allocator.allocate(Protocol.TCP, [WILDCARD], pool) for _ in range(2)]
    allocator.release(Protocol.TCP, WILDCARD, 8000)
    given += [allocator.allocate(Protocol.TCP, [WILDCARD], pool) for _ in range(2)]
    assert given == [8000, 8001, 8002, 8000]


def test_a_failed_request_takes_nothing_and_moves_no_cursor(allocator: PortAllocator) -> None:
    pool = PortRange(8000, 8001)
    taken(allocator, 8000, 8001, ip=LAN)
    before = allocator.dump()
    with pytest.raises(NoPortFree, match="8000-8001/tcp"):
        allocator.allocate(Protocol.TCP, [WILDCARD, LOOPBACK], pool)
    assert allocator.dump() == before
    allocator.release_all()
    assert allocator.allocate(Protocol.TCP, [WILDCARD], pool) == 8000


def test_a_conflict_names_every_address_in_the_way_and_its_endpoint(
    allocator: PortAllocator,
) -> None:
    taken(allocator, 80, ip=LAN)
    taken(allocator, 80, ip=LAN6)
    with pytest.raises(PortPublished) as caught:
        allocator.allocate(Protocol.TCP, [WILDCARD, WILDCARD6], PortRange.single(80))
    assert str(caught.value) == (
        "0.0.0.0:80/tcp and [::]:80/tcp can't be published: "
        "192.0.2.10:80/tcp and [fd00::2]:80/tcp are published by endpoint 'web'; "
        "publish another port or unpublish that one"
    )
    with pytest.raises(PortPublished) as caught:
        allocator.allocate(Protocol.TCP, [LAN, LAN6], PortRange.single(80))
    assert caught.value.message == (
        "192.0.2.10:80/tcp and [fd00::2]:80/tcp are published by endpoint 'web'"
    )


def test_excluded_ports_are_passed_over(allocator: PortAllocator) -> None:
    excluded: Sequence[set[int]] = [{8000}, {8001}]
    assert allocator.allocate(Protocol.TCP, [LAN], PortRange(8000, 8002), excluded=excluded) == 8002
    with pytest.raises(NoPortFree):
        allocator.allocate(Protocol.UDP, [LAN], PortRange.single(8000), excluded=excluded)


def test_a_copy_goes_its_own_way(allocator: PortAllocator) -> None:
    pool = PortRange(8000, 8009)
    allocator.allocate(Protocol.TCP, [LAN], pool)
    copy = allocator.copy()
    assert copy.allocate(Protocol.TCP, [LAN], pool) == 8001
    assert allocator.dump() == {Protocol.TCP: {LAN: [8000]}}


def test_a_port_is_asked_for_on_some_address(allocator: PortAllocator) -> None:
    with pytest.raises(ValueError, match="at least one address"):
        allocator.allocate(Protocol.TCP, [], PortRange.single(80))


IPS = st.sampled_from(
    [
        ip_address(text)
        for text in ("0.0.0.0", "127.0.0.1", "192.0.2.10", "::", "::1", "::ffff:127.0.0.1")
    ]
)
RANGES = st.sampled_from(
    [PortRange(*ends) for ends in ((1, 1), (1, 4), (3, 6), (65533, 65535), (65535, 65535))]
)


class AllocatorAgainstNaiveModel(RuleBasedStateMachine):
    """The allocator beside a list of what is taken, searched by the letter of the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = PortAllocator()
        self.taken: set[tuple[Protocol, IPAddress, int]] = set()
        self.last: dict[tuple[Protocol, IPAddress, PortRange], int] = {}

    def free(self, protocol: Protocol, ip: IPAddress, port: int) -> bool:
        return not any(
            (protocol, port) == (other_protocol, other_port)
            and ip.version == other_ip.version
            and (ip == other_ip or ip.is_unspecified or other_ip.is_unspecified)
            for other_protocol, other_ip, other_port in self.taken
        )

    def expected(
        self, protocol: Protocol, ips: list[IPAddress], ports: PortRange, excluded: set[int]
    ) -> int | None:
        candidates = list(ports)
        last = self.last.get((protocol, ips[0], ports))
        if last is not None:
            after = candidates.index(last) + 1
            candidates = candidates[after:] + candidates[:after]
        for port in candidates:
            if port not in excluded and all(self.free(protocol, ip, port) for ip in ips):
                return port
        return None

    @rule(
        protocol=st.sampled_from(Protocol),
        mixed=st.lists(IPS, min_size=1, max_size=3),
        ports=RANGES,
        excluded=st.sets(st.integers(1, 6), max_size=2),
    )
    def allocate(
        self, protocol: Protocol, mixed: list[IPAddress], ports: PortRange, excluded: set[int]
    ) -> None:
        ips = [unmapped(ip) for ip in mixed]
        expected = self.expected(protocol, ips, ports, excluded)
        if expected is None:
            with pytest.raises((NoPortFree, PortPublished)):
                self.allocator.allocate(protocol, mixed, ports, excluded=[excluded])
            return
        assert self.allocator.allocate(protocol, mixed, ports, excluded=[excluded]) == expected
        for ip in ips:
            self.taken.add((protocol, ip, expected))
            if len(ports) > 1:
                self.last[protocol, ip, ports] = expected

    @rule(protocol=st.sampled_from(Protocol), ip=IPS, port=st.integers(1, 6))
    def release(self, protocol: Protocol, ip: IPAddress, port: int) -> None:
        self.allocator.release(protocol, ip, port)
        self.taken.discard((protocol, unmapped(ip), port))

    @rule()
    def release_all(self) -> None:
        self.allocator.release_all()
        self.taken.clear()
        self.last.clear()

    @invariant()
    def both_hold_the_same(self) -> None:
        dumped = {
            (protocol, ip, port)
            for protocol, by_ip in self.allocator.dump().items()
            for ip, ports in by_ip.items()
            for port in ports
        }
        assert dumped == self.taken


TestAllocatorAgainstNaiveModel = AllocatorAgainstNaiveModel.TestCase
TestAllocatorAgainstNaiveModel.settings = settings(max_examples=100, stateful_step_count=40)

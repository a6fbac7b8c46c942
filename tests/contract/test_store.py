"""One suite for the fake store and SQLite: what `StateStore` promises, both keep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.errors import StoreFailed
from hostports.interfaces import StateStore
from hostports.model.firewall import FirewallItem
from hostports.model.following import Following
from hostports.model.port import ProxyProtocol, PublishMode, SocketAddress
from hostports.model.state import Recorded, State
from hostports.store.sqlite import SqliteStore
from hostports.testing import FakeClock, FakeStore, Faults

NETWORK = BridgeNetwork("lab", bridge="br0", subnet_ipv4=IPv4Network("172.30.0.0/24"))
OTHER_NETWORK = BridgeNetwork("yard")
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"), IPv6Address("fd30::2"))
DB = Endpoint("db", NETWORK, IPv4Address("172.30.0.3"))
GUEST = Endpoint("guest", OTHER_NETWORK, namespace="/run/netns/guest")

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)


def binding(port: int, endpoint: Endpoint = WEB) -> PortBinding:
    return PortBinding(
        network=endpoint.network.name,
        endpoint=endpoint.name,
        protocol=Protocol.TCP,
        host_ip=IPv4Address("0.0.0.0"),
        host_port=port,
        container_ip=IPv4Address("172.30.0.2"),
        container_port=80,
    )


def following(port: int, endpoint: Endpoint = WEB) -> Following:
    return Following(endpoint.name, "eth0", Protocol.TCP, port, 80)


class Case(NamedTuple):
    """A store, and a way to ask whoever comes after it."""

    store: StateStore
    reopened: Callable[[], StateStore]


@contextmanager
def fake(_: Path) -> Iterator[Case]:
    store = FakeStore()
    yield Case(store, lambda: store)


@contextmanager
def sqlite(directory: Path) -> Iterator[Case]:
    path = directory / "state.sqlite3"
    opened = [SqliteStore(path)]

    def reopened() -> StateStore:
        opened[-1].close()
        opened.append(SqliteStore(path))
        return opened[-1]

    try:
        yield Case(opened[0], reopened)
    finally:
        opened[-1].close()


@pytest.fixture(params=[fake, sqlite], ids=["fake", "sqlite"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Callable[[Path], AbstractContextManager[Case]] = request.param
    with made(tmp_path) as case:
        yield case


@pytest.fixture
def store(case: Case) -> StateStore:
    case.store.record([NETWORK, OTHER_NETWORK, WEB, DB, GUEST], at=NOW)
    return case.store


def test_nothing_is_recorded_at_first(case: Case) -> None:
    assert case.store.load() == State()


def test_what_was_recorded_is_there_for_who_comes_next(case: Case, store: StateStore) -> None:
    bindings = [binding(port) for port in (8081, 8080, 9000, 8082)]
    store.record(bindings[:2], at=NOW)
    store.record(bindings[2:], at=LATER)
    for state in (store.load(), case.reopened().load()):
        assert list(state.networks.items()) == [("lab", NETWORK), ("yard", OTHER_NETWORK)]
        assert list(state.endpoints.items()) == [("web", WEB), ("db", DB), ("guest", GUEST)]
        assert list(state.bindings.items()) == list(
            zip(bindings, (NOW, NOW, LATER, LATER), strict=True)
        )


@pytest.mark.parametrize("items", [*permutations([NETWORK, WEB, binding(8080)])])
def test_what_belongs_together_comes_and_goes_in_any_order(
    case: Case, items: Sequence[FirewallItem]
) -> None:
    case.store.record(items, at=NOW)
    assert case.store.load() == State({"lab": NETWORK}, {"web": WEB}, {binding(8080): NOW})
    case.store.record(removed=items, at=NOW)
    assert case.store.load() == State()


def test_what_is_there_stays_as_it_is(store: StateStore) -> None:
    store.record([binding(8080), binding(8081)], at=NOW)
    before = store.load()
    again: list[FirewallItem] = [
        replace(NETWORK, icc=False),
        replace(WEB, ipv6=None),
        Endpoint("web", OTHER_NETWORK),
        binding(8081),
        binding(8080),
    ]
    store.record(again, at=LATER)
    assert store.load() == before
    assert list(store.load().bindings) == [binding(8080), binding(8081)]


def test_what_comes_twice_in_a_call_is_there_once(store: StateStore) -> None:
    store.record([binding(8080), binding(8080)], at=NOW)
    store.record(removed=[binding(8080)], at=NOW)
    assert store.load().bindings == {}


def test_removing_what_is_not_there_has_no_effect(store: StateStore) -> None:
    store.record([binding(8080)], at=NOW)
    before = store.load()
    store.record(
        removed=[binding(8081), Endpoint("nobody", NETWORK), BridgeNetwork("nowhere")], at=LATER
    )
    store.record(at=LATER)
    assert store.load() == before


def test_networks_and_endpoints_go_by_their_names(store: StateStore) -> None:
    store.record(removed=[Endpoint("web", GUEST.network), BridgeNetwork("yard", icc=False)], at=NOW)
    assert store.load() == State({"lab": NETWORK}, {"db": DB})


def test_an_endpoint_is_on_the_network_that_is_recorded(store: StateStore) -> None:
    new = Endpoint("new", replace(NETWORK, icc=False))
    store.record([new], at=NOW)
    assert store.load().endpoints["new"].network == NETWORK


def test_removals_come_first(store: StateStore) -> None:
    store.record([binding(8080), binding(8081)], at=NOW)
    store.record([binding(8080)], removed=[binding(8080)], at=LATER)
    assert list(store.load().bindings.items()) == [(binding(8081), NOW), (binding(8080), LATER)]
    store.record([WEB, binding(8082)], removed=[WEB], at=LATER)
    assert store.load().bindings == {binding(8082): LATER}


def test_a_network_takes_its_endpoints_and_an_endpoint_its_bindings(store: StateStore) -> None:
    of_each = {each: binding(8080, each) for each in (WEB, DB, GUEST)}
    store.record([*of_each.values()], at=NOW)
    store.record(removed=[DB], at=NOW)
    assert list(store.load().bindings) == [of_each[WEB], of_each[GUEST]]
    store.record(removed=[NETWORK], at=NOW)
    assert store.load() == State({"yard": OTHER_NETWORK}, {"guest": GUEST}, {of_each[GUEST]: NOW})
    store.record([NETWORK, WEB], at=NOW)
    assert list(store.load().bindings) == [of_each[GUEST]]


def test_followings_come_and_go_by_themselves_and_with_their_endpoint(
    case: Case, store: StateStore
) -> None:
    of_web, of_db = following(8080), following(8080, DB)
    tagged = replace(binding(8080), interface="eth0")
    store.record([of_web, of_db, tagged, of_web], at=NOW)
    assert store.load().followings == (of_web, of_db)
    assert [each.interface for each in store.load().bindings] == ["eth0"]
    store.record(removed=[tagged], at=NOW)
    assert case.reopened().load().followings == (of_web, of_db)


def test_what_is_followed_goes_with_its_endpoint_or_when_it_is_removed(store: StateStore) -> None:
    store.record([following(8080), following(8081), following(8080, DB)], at=NOW)
    store.record(removed=[following(8081), following(8082)], at=NOW)
    store.record(removed=[DB], at=NOW)
    assert store.load().followings == (following(8080),)
    store.record(removed=[NETWORK], at=NOW)
    assert store.load().followings == ()
    with pytest.raises(StoreFailed, match="add that first"):
        store.record([following(8080)], at=NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"interface": "eth1"},
        {"protocol": Protocol.UDP},
        {"host_port": 8081},
        {"container_port": 81},
        {"mode": PublishMode.RELAY},
        {"allow_from": (ip_network("10.0.0.0/8"),)},
        {"proxy_protocol": ProxyProtocol.V2},
    ],
    ids=str,
)
def test_followings_that_differ_in_anything_are_two(
    store: StateStore, changed: dict[str, Any]
) -> None:
    one, other = following(8080), replace(following(8080), **changed)
    store.record([one, other], at=NOW)
    assert store.load().followings == (one, other)
    store.record(removed=[one], at=NOW)
    assert store.load().followings == (other,)


def test_the_last_port_of_each_container_port_is_remembered(case: Case, store: StateStore) -> None:
    udp = replace(binding(53), protocol=Protocol.UDP, container_port=53)
    routed = replace(binding(0), container_port=443)
    store.record([binding(8080), binding(8081), udp, routed, binding(9000, DB)], at=NOW)
    assert store.former("web") == {}
    for each in (binding(8080), binding(8081), udp, routed):
        store.record(removed=[each], at=NOW)
    store.record(removed=[WEB], at=NOW)
    remembered = {(Protocol.TCP, 80): 8081, (Protocol.UDP, 53): 53}
    assert (store.former("web"), store.former("db")) == (remembered, {})
    assert case.reopened().former("web") == remembered


CHILD = SocketAddress(Protocol.TCP, IPv4Address("127.0.0.1"), 8080)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (binding(8080), replace(binding(8080), **changed))
        for changed in (
            {"protocol": Protocol.UDP},
            {"host_ip": IPv4Address("127.0.0.1")},
            {"host_port": 0},
            {"container_ip": IPv4Address("172.30.0.4")},
            {"container_port": 81},
            {"child": CHILD},
            {"mode": PublishMode.RELAY},
            {"allow_from": (ip_network("10.0.0.0/8"),)},
            {"proxy_protocol": ProxyProtocol.V2},
        )
    ]
    + [
        (replace(binding(8080), child=CHILD), replace(binding(8080), child=other))
        for other in (replace(CHILD, port=81), replace(CHILD, ip=IPv4Address("127.0.0.2")))
    ],
    ids=str,
)
def test_bindings_that_differ_in_anything_are_two(
    store: StateStore, one: PortBinding, other: PortBinding
) -> None:
    store.record([one, other], at=NOW)
    assert list(store.load().bindings) == [one, other]
    store.record(removed=[other], at=NOW)
    assert list(store.load().bindings) == [one]


@pytest.mark.parametrize(
    "orphan",
    [
        Endpoint("lost", BridgeNetwork("nowhere")),
        binding(8080, Endpoint("nobody", NETWORK)),
        binding(8080, Endpoint("web", OTHER_NETWORK)),
    ],
    ids=["endpoint", "binding", "binding on another network"],
)
def test_all_or_nothing_is_recorded(store: StateStore, orphan: FirewallItem) -> None:
    store.record([binding(8081)], at=NOW)
    before = store.load()
    with pytest.raises(StoreFailed, match=r"add that first$"):
        store.record([BridgeNetwork("new"), binding(8082), orphan], removed=[DB], at=LATER)
    assert store.load() == before
    store.record([binding(8082)], at=LATER)


def test_what_was_loaded_stays_as_it_was(store: StateStore) -> None:
    before = store.load()
    store.record([binding(8080)], removed=[DB], at=NOW)
    assert (before.endpoints, before.bindings) == ({"web": WEB, "db": DB, "guest": GUEST}, {})


def test_times_are_the_same_moments_in_utc(store: StateStore) -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=45))
    store.record([binding(8080)], at=NOW.astimezone(elsewhere))
    (created,) = store.load().bindings.values()
    assert created == NOW
    assert created.utcoffset() == timedelta()


def test_the_fake_fails_as_it_is_told_and_shows_what_it_holds() -> None:
    store = FakeStore(Faults({"store.record": [2], "store.load": [1]}))
    store.record([NETWORK, WEB, binding(8080)], at=NOW)
    with pytest.raises(StoreFailed):
        store.record(removed=[NETWORK], at=NOW)
    with pytest.raises(StoreFailed):
        store.load()
    assert store.dump() == [
        "network lab",
        "endpoint web on lab",
        "binding 0.0.0.0:8080:172.30.0.2:80/tcp of web",
    ]
    assert list(store.load().networks) == ["lab"]


def test_the_fake_clock_tells_in_utc_what_it_was_set_to() -> None:
    clock = FakeClock()
    assert clock.now() == clock.now()
    clock.time = NOW.astimezone(timezone(timedelta(hours=-8)))
    assert (clock.now(), clock.now().tzinfo) == (NOW, UTC)


NETWORKS = [BridgeNetwork("a"), BridgeNetwork("a", icc=False), BridgeNetwork("b")]
ENDPOINTS = [Endpoint(name, network) for name in ("1", "2") for network in NETWORKS]
BINDINGS = [binding(port, endpoint) for port in (80, 81) for endpoint in ENDPOINTS]
BINDINGS += [replace(each, child=CHILD) for each in BINDINGS]
FOLLOWINGS = [following(port, endpoint) for port in (80, 81) for endpoint in ENDPOINTS]

some_items: st.SearchStrategy[list[Recorded]] = st.lists(
    st.sampled_from(NETWORKS)
    | st.sampled_from(ENDPOINTS)
    | st.sampled_from(BINDINGS)
    | st.sampled_from(FOLLOWINGS),
    max_size=6,
)


def outcome(
    store: StateStore, added: list[Recorded], removed: list[Recorded], at: datetime
) -> tuple[bool, list[object]]:
    """Whether a call was refused, and what is recorded then, in order."""
    refused = False
    try:
        store.record(added, removed, at=at)
    except StoreFailed:
        refused = True
    state = store.load()
    everything = (state.networks, state.endpoints, state.bindings)
    found = [item for mapping in everything for item in mapping.items()]
    return refused, [*found, *state.followings]


@given(st.lists(st.tuples(some_items, some_items), max_size=8))
def test_the_fake_keeps_what_sqlite_keeps(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[list[Recorded], list[Recorded]]],
) -> None:
    fake = FakeStore()
    with (
        TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory,
        SqliteStore(Path(directory, "state.sqlite3")) as real,
    ):
        # Otherwise nearly every call would lack something.
        everything: list[Recorded] = [*NETWORKS, *ENDPOINTS]
        for number, (added, removed) in enumerate([(everything, []), *calls]):
            at = NOW + timedelta(seconds=number)
            assert outcome(fake, added, removed, at) == outcome(real, added, removed, at)

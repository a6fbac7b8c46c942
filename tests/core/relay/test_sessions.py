from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hostports.core.relay.sessions import UDP_SESSION_IDLE_S, SessionTable

LIMIT = 4
clients = st.integers(0, 6)


def test_a_session_ends_after_ninety_seconds_without_traffic() -> None:
    table: SessionTable[str] = SessionTable(LIMIT)
    table.add("client", "session", now=10)
    assert table.next_expiry() == 100
    assert table.expire(now=99.9) == []
    assert table.expire(now=100) == ["session"]
    assert table.next_expiry() is None


def test_traffic_of_either_way_keeps_a_session() -> None:
    table: SessionTable[str] = SessionTable(LIMIT)
    table.add("client", "session", now=0)
    table.touch("client", now=60)
    assert table.expire(now=149) == []
    assert table.expire(now=150) == ["session"]


def test_asking_for_a_session_does_not_keep_it() -> None:
    table: SessionTable[str] = SessionTable(LIMIT)
    table.add("client", "session", now=0)
    assert table.get("client") == "session"
    assert table.expire(now=90) == ["session"]


def test_in_a_full_table_the_session_that_is_idle_longest_makes_room() -> None:
    table: SessionTable[str] = SessionTable(2)
    assert table.add("a", "session a", now=0) is None
    assert table.add("b", "session b", now=1) is None
    table.touch("a", now=2)
    assert table.add("c", "session c", now=3) == "session b"
    assert list(table) == ["session a", "session c"]


def test_without_a_limit_nobody_makes_room() -> None:
    table: SessionTable[int] = SessionTable(0)
    assert [table.add(client, client, now=0) for client in range(1000)] == [None] * 1000


def test_a_clients_second_session_replaces_its_first_and_nobody_elses() -> None:
    table: SessionTable[str] = SessionTable(2)
    table.add("a", "session a", now=0)
    table.add("b", "session b", now=0)
    assert table.add("b", "another", now=1) == "session b"
    assert list(table) == ["session a", "another"]


def test_traffic_of_a_session_that_is_gone_has_no_effect() -> None:
    table: SessionTable[str] = SessionTable(LIMIT)
    table.touch("client", now=0)
    assert (len(table), table.next_expiry()) == (0, None)
    assert table.remove("client") is None


class AgainstAList(RuleBasedStateMachine):
    """The table beside a list of (last activity, client, session), which is searched."""

    def __init__(self) -> None:
        super().__init__()
        self.table: SessionTable[int] = SessionTable(LIMIT)
        self.model: list[tuple[float, int, int]] = []
        self.now = 0.0
        self.opened = 0

    def taken(self, *found: tuple[float, int, int]) -> list[int]:
        for each in found:
            self.model.remove(each)
        return [session for _, _, session in found]

    def of(self, client: int) -> list[tuple[float, int, int]]:
        return [each for each in self.model if each[1] == client]

    @rule(seconds=st.sampled_from([0, 0.5, 30, UDP_SESSION_IDLE_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(client=clients)
    def a_client_comes(self, client: int) -> None:
        self.opened += 1
        gone = self.taken(*self.of(client))
        if len(self.model) == LIMIT:
            # Of two that fell silent at once, the one that did so first.
            gone = self.taken(min(self.model, key=lambda each: each[0]))
        self.model.append((self.now, client, self.opened))
        assert self.table.add(client, self.opened, self.now) == (gone[0] if gone else None)

    @rule(client=clients)
    def a_datagram_passes(self, client: int) -> None:
        self.table.touch(client, self.now)
        for each in self.of(client):
            self.model.remove(each)
            self.model.append((self.now, *each[1:]))

    @rule(client=clients)
    def a_session_is_removed(self, client: int) -> None:
        gone = self.taken(*self.of(client))
        assert self.table.remove(client) == (gone[0] if gone else None)

    @rule()
    def the_silent_ones_expire(self) -> None:
        silent = [each for each in self.model if self.now - each[0] >= UDP_SESSION_IDLE_S]
        assert self.table.expire(self.now) == self.taken(*silent)

    @invariant()
    def both_hold_the_same(self) -> None:
        assert list(self.table) == [session for _, _, session in self.model]
        assert len(self.table) == len(self.model) <= LIMIT
        for client in range(7):
            found = self.of(client)
            assert self.table.get(client) == (found[0][2] if found else None)
        due = min((last for last, _, _ in self.model), default=None)
        assert self.table.next_expiry() == (None if due is None else due + UDP_SESSION_IDLE_S)


TestAgainstAList = AgainstAList.TestCase

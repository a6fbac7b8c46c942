"""What only a file can show: that it lasts, whose it is, and what becomes of a broken one."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostports import BridgeNetwork, Endpoint, PortBinding, Protocol
from hostports.core.rows import COLUMNS, ENDPOINT_COLUMNS, FOLLOWING_COLUMNS, NETWORK_COLUMNS
from hostports.errors import StoreFailed
from hostports.model.address import Family
from hostports.model.following import Following
from hostports.model.relay import RelayProcess
from hostports.model.state import State
from hostports.store.guards import SqliteGuards
from hostports.store.migrations import MIGRATIONS
from hostports.store.sqlite import MOST_FORMER_PORTS, SqliteStore
from tests.store.writer import GROUP_SIZE
from tests.strategies import bridge_networks, endpoints, followings, port_bindings

Named = TypeVar("Named", BridgeNetwork, Endpoint)

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NETWORK = BridgeNetwork("lab", bridge="br0", subnet_ipv4=IPv4Network("172.30.0.0/24"))
WEB = Endpoint("web", NETWORK, IPv4Address("172.30.0.2"))


def bindings(ports: Sequence[int]) -> list[PortBinding]:
    any_ip, container_ip = IPv4Address("0.0.0.0"), IPv4Address("172.30.0.2")
    return [
        PortBinding("lab", "web", Protocol.TCP, any_ip, port, container_ip, 80) for port in ports
    ]


FOLLOWING = Following("web", "eth0", Protocol.TCP, 8080, 80)
NEWEST = len(MIGRATIONS)
NEXT = NEWEST + 1
STATE = State({"lab": NETWORK}, {"web": WEB}, dict.fromkeys(bindings(range(8080, 8090)), NOW))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


@pytest.fixture
def recorded(path: Path) -> Path:
    """A file that holds `STATE`, and that nobody uses."""
    with SqliteStore(path) as store:
        store.record([NETWORK, WEB, *STATE.bindings], at=NOW)
    return path


def loaded(path: Path, migrations: Sequence[str] = MIGRATIONS) -> State:
    with SqliteStore(path, migrations=migrations) as store:
        return store.load()


def refusal(path: Path, migrations: Sequence[str] = MIGRATIONS) -> str:
    """How a store refuses to be opened or read: always in one line, and always with a mend."""
    with pytest.raises(StoreFailed) as caught:
        loaded(path, migrations)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def edit(path: Path, script: str) -> None:
    """What somebody does with the sqlite3 command, to which foreign keys mean nothing."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone())]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- It lasts ---------------------------------------------------------------------------------


@st.composite
def states(draw: st.DrawFn) -> State:
    """Networks, endpoints on them, and bindings of these, with a time each."""
    networks = draw(unique(bridge_networks()))
    ends = draw(unique(endpoints(st.sampled_from(networks))))
    of_some = st.builds(of_endpoint, port_bindings(), st.sampled_from(ends))
    times = st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC))
    return State(
        {each.name: each for each in networks},
        {each.name: each for each in ends},
        draw(st.dictionaries(of_some, times, max_size=6)),
        tuple(draw(st.lists(of_any(ends), max_size=4, unique=True))),
    )


def of_any(ends: list[Endpoint]) -> st.SearchStrategy[Following]:
    """Followings of one of some endpoints."""
    return st.builds(
        lambda following, endpoint: replace(following, endpoint=endpoint.name),
        followings(),
        st.sampled_from(ends),
    )


def unique(items: st.SearchStrategy[Named]) -> st.SearchStrategy[list[Named]]:
    return st.lists(items, min_size=1, max_size=4, unique_by=lambda each: each.name)


def of_endpoint(binding: PortBinding, endpoint: Endpoint) -> PortBinding:
    return replace(binding, endpoint=endpoint.name, network=endpoint.network.name)


@given(states())
@settings(deadline=None)
def test_after_a_restart_everything_is_there_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, state: State
) -> None:
    with TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory:
        path = Path(directory, "state.sqlite3")
        with SqliteStore(path) as store:
            store.record([*state.networks.values(), *state.endpoints.values()], at=NOW)
            for binding, created in state.bindings.items():
                store.record([binding], at=created)
            store.record(state.followings, at=NOW)
        found = loaded(path)
    assert found == state
    tags = [each.interface for each in state.bindings]
    assert [each.interface for each in found.bindings] == tags
    assert list(found.networks) == list(state.networks)
    assert list(found.endpoints) == list(state.endpoints)
    assert list(found.bindings) == list(state.bindings)


def test_twenty_thousand_bindings_keep_their_order(path: Path) -> None:
    many = bindings([*range(40_000, 20_000, -2), *range(20_001, 40_000, 2)])
    with SqliteStore(path) as store:
        store.record([NETWORK, WEB, *many], at=NOW)
        assert list(store.load().bindings) == many
        store.record(removed=many[1:], at=NOW)
        assert list(store.load().bindings) == many[:1]


@pytest.mark.parametrize("moment", [each / 10 for each in range(10)])
def test_a_killed_writer_leaves_whole_calls_and_loses_none_that_returned(
    path: Path, moment: float
) -> None:
    """Killed when so much of a call has passed, by how long the one before took."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout
        returned = [writer.stdout.readline() for _ in range(2)]
        start = perf_counter()
        returned.append(writer.stdout.readline())
        sleep((perf_counter() - start) * moment)
        writer.send_signal(signal.SIGKILL)
        returned += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    found = [each.container_port for each in loaded(path).bindings]
    assert len(found) == GROUP_SIZE
    assert len(set(found)) == 1
    assert found[0] - int(returned[-1]) in (0, 1)


def test_threads_take_turns(path: Path) -> None:
    calls = [bindings([port, port + 1]) for port in range(10_000, 10_200, 2)]
    with SqliteStore(path) as store:
        store.record([NETWORK, WEB], at=NOW)

        def publish(call: list[PortBinding]) -> bool:
            store.record(call, at=NOW)
            there = list(store.load().bindings)
            return there[there.index(call[0]) + 1] == call[1] and len(there) % 2 == 0

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(publish, calls))
        assert store.load().bindings.keys() == {each for call in calls for each in call}


# --- Whose it is ------------------------------------------------------------------------------


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_nobody_else_may_read_anything_of_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = tmp_path / "hostports"
    path = directory / "state.sqlite3"
    with SqliteStore(path) as store:
        store.record([NETWORK], at=NOW)
        assert {each.name: mode(each) for each in directory.iterdir()} == {
            f"state.sqlite3{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")
        }
    assert mode(directory) == 0o700
    path.chmod(0o644)
    loaded(path)
    assert mode(path) == 0o600
    assert mode(tmp_path) == 0o755


def test_a_second_daemon_is_refused_until_the_first_is_gone(path: Path) -> None:
    opening = (
        "import sys, pathlib; from hostports.store.sqlite import MOST_FORMER_PORTS, SqliteStore\n"
        "try: SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "except Exception as error: print(error)"
    )

    def said() -> str:
        return subprocess.check_output([sys.executable, "-c", opening, str(path)], text=True)

    path.with_name("state.sqlite3.lock").write_text("1234567890 of long ago\n")
    with SqliteStore(path) as store:
        assert said() == (
            f"another daemon (pid {os.getpid()}) uses {path}; "
            "stop it or give this one another --state\n"
        )
        store.record([NETWORK], at=NOW)
    assert said() == ""
    assert loaded(path).networks == {"lab": NETWORK}


def test_another_name_of_the_file_is_no_way_around(recorded: Path) -> None:
    link = recorded.with_name("link")
    link.symlink_to(recorded)
    with SqliteStore(recorded):
        assert refusal(link).startswith("another daemon")


def test_who_only_looks_is_let_in_and_reads_plain_words(recorded: Path) -> None:
    asked = "SELECT endpoint, host_ip, host_port, created FROM bindings ORDER BY position DESC"
    with SqliteStore(recorded) as store, closing(sqlite3.connect(recorded)) as guest:
        store.record(bindings([9000]), at=NOW.astimezone(timezone(timedelta(hours=9))))
        written = ("web", "0.0.0.0", 9000, "2026-01-02T03:04:05.678901+00:00")
        assert guest.execute(asked).fetchone() == written


def test_who_keeps_it_locked_is_waited_for_and_then_told_of(recorded: Path) -> None:
    with (
        SqliteStore(recorded, busy_timeout_s=0.01) as store,
        closing(sqlite3.connect(recorded, isolation_level=None)) as guest,
    ):
        guest.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match=r"another program keeps it locked .*; close"):
            store.record(removed=[WEB], at=NOW)
        guest.execute("ROLLBACK")
        assert store.load() == STATE


def test_closed_is_closed(recorded: Path) -> None:
    store = SqliteStore(recorded)
    store.close()
    store.close()
    with pytest.raises(StoreFailed, match="closed"):
        store.load()
    with pytest.raises(StoreFailed, match="closed"):
        store.record([NETWORK], at=NOW)


@pytest.mark.parametrize("put", [None, State(), STATE], ids=["deleted", "emptied", "replaced"])
def test_what_nobody_would_find_again_is_not_written(recorded: Path, put: State | None) -> None:
    """Somebody deletes the file that a daemon uses, or puts another in its place."""
    with SqliteStore(recorded) as store:
        for each in recorded.parent.iterdir():
            each.unlink()
        if put is not None:
            with SqliteStore(recorded) as other:
                other.record([*put.networks.values()], at=NOW)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="was deleted, or another") as caught:
                store.record(removed=[WEB], at=NOW)
            with pytest.raises(StoreFailed, match="was deleted, or another"):
                SqliteGuards(store, "boot", 1).add(frozenset(Family))
        assert store.load() == STATE  # a relay that dies must get its ports again
    kept = recorded.with_name("state.sqlite3.kept")
    assert str(kept) in str(caught.value)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.rename(recorded)
    assert loaded(recorded) == STATE


def test_where_no_copy_can_be_kept_either_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.sqlite3"
    with SqliteStore(path) as store:
        rmtree(path.parent)
        with pytest.raises(StoreFailed, match=r"kept can't be written: .*No such file"):
            store.record([NETWORK], at=NOW)


# --- What becomes of a broken one -------------------------------------------------------------


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    assert loaded(path) == State()


def test_what_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("all: build test\n" * 500)
    path.chmod(0o644)
    before = path.read_bytes()
    assert refusal(path) == (
        f"{path} can't be used: it is no database (file is not a database); "
        "move it away, or give another --state"
    )
    assert (path.read_bytes(), mode(path)) == (before, 0o644)


@pytest.mark.parametrize("version", [0, 1, 9])
def test_the_database_of_another_program_is_left_alone(path: Path, version: int) -> None:
    edit(path, f"CREATE TABLE moz_places (url); PRAGMA user_version = {version}")
    before = path.read_bytes()
    assert refusal(path) == f"{path} is the database of another program; give another --state"
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused(recorded: Path) -> None:
    size = recorded.stat().st_size
    with recorded.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    assert "it is damaged (database disk image is malformed); put a copy" in refusal(recorded)


@pytest.mark.parametrize(
    ("script", "table", "reason"),
    [
        ("UPDATE networks SET gateway_mode_ipv6 = 'open'", "networks", "'open' is not a valid"),
        (
            "UPDATE networks SET bridge = 'br/0'",
            "networks",
            "'br/0': it is no name of an interface",
        ),
        ("UPDATE networks SET subnet_ipv4 = '172.30.0.1/24'", "networks", "has host bits set"),
        ("UPDATE networks SET host_ipv6 = '192.0.2.1'", "networks", "'192.0.2.1'"),
        ("UPDATE networks SET icc = 'yes'", "networks", "'yes' is neither 0 nor 1"),
        ("UPDATE networks SET name = x'00'", "networks", r"b'\x00' is no text"),
        ("UPDATE networks SET name = CAST(x'ff' AS TEXT)", "networks", "decode to UTF-8"),
        ("UPDATE endpoints SET ipv4 = 'fd00::1'", "endpoints", "'fd00::1'"),
        ("DELETE FROM networks", "endpoints", "there is no network 'lab'"),
        ("DELETE FROM endpoints", "bindings", "there is no endpoint 'web' on 'lab'"),
        ("UPDATE bindings SET network = 'yard'", "bindings", "no endpoint 'web' on 'yard'"),
        ("UPDATE bindings SET protocol = 'icmp'", "bindings", "'icmp' is not a valid Protocol"),
        ("UPDATE bindings SET host_ip = 'local\nhost'", "bindings", r"'local\nhost'"),
        ("UPDATE bindings SET host_port = 65536", "bindings", "65536 is no port"),
        ("UPDATE bindings SET container_port = 'http'", "bindings", "'http' is no number"),
        ("UPDATE bindings SET created = 'once'", "bindings", "Invalid isoformat string: 'once'"),
        ("UPDATE bindings SET created = '2026-01-01'", "bindings", "has no time zone"),
        ("UPDATE bindings SET created = x'00'", "bindings", r"b'\x00' is no time"),
        ("UPDATE bindings SET created = '0001-01-01T00:00+09:00'", "bindings", "out of range"),
    ],
)
def test_a_row_that_means_nothing_is_named(
    recorded: Path, script: str, table: str, reason: str
) -> None:
    position = 3 if script.startswith("UPDATE bindings") else 1
    edit(recorded, script + (f" WHERE position = {position}" if position > 1 else ""))
    said = refusal(recorded)
    assert said.startswith(f"{recorded}: row {position} of table {table} means nothing: ")
    assert reason in said
    assert said.endswith(f' FROM {table} WHERE position = {position}"')


def test_the_mend_of_a_row_that_means_nothing_mends(recorded: Path) -> None:
    edit(recorded, "UPDATE endpoints SET ipv4 = 'fd00::1'")
    edit(recorded, refusal(recorded).split('"')[1])
    assert loaded(recorded) == State({"lab": NETWORK})


def test_what_sqlite_has_no_place_for_is_refused(recorded: Path) -> None:
    too_big = replace(bindings([1])[0], container_port=2**63)
    no_text = Endpoint("new", NETWORK, namespace="/run/netns/\udcff")
    with SqliteStore(recorded) as store:
        for item in (too_big, no_text):
            with pytest.raises(StoreFailed, match="has no place for a value"):
                store.record([*bindings([9000]), item], at=NOW)
        assert store.load() == STATE


def test_what_can_not_be_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path).startswith(f"{tmp_path} can't be used: {tmp_path}: Is a directory; ")
    below = tmp_path / "file" / "state"
    assert refusal(below).startswith(f"{below} can't be used: {tmp_path / 'file'}: File exists; ")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "Too many levels of symbolic links" in refusal(loop)


#: Records until that is refused, and says how it was refused, and whether whole calls are there.
FILLING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from hostports.errors import StoreFailed
from hostports.store.sqlite import MOST_FORMER_PORTS, SqliteStore
from tests.store.writer import GROUP_SIZE, NETWORK, WEB, group
try:
    store = SqliteStore(Path(sys.argv[1]))
    store.record([NETWORK, WEB], at=datetime.now(UTC))
    for number in range(1, 100):
        store.record(group(number), at=datetime.now(UTC))
except StoreFailed as error:
    print(error)
print(len(store.load().bindings) == GROUP_SIZE * (number - 1))
"""


def on_a_disk(options: str, directory: Path, program: str) -> list[str]:
    """What a program prints that works on a disk of its own, which is gone after it."""
    mounting = f'mount -t tmpfs -o {options} tmpfs {directory} && exec {sys.executable} -c "$0" $1'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounting, program, directory / "state.sqlite3"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


def test_a_full_disk_is_told_of_and_keeps_whole_calls(tmp_path: Path) -> None:
    assert on_a_disk("size=1m", tmp_path, FILLING) == [
        f"{tmp_path}/state.sqlite3 can't be used: no space is left on its disk "
        "(database or disk is full); make room there",
        "True",
    ]


@pytest.mark.parametrize("size", range(4, 80, 4))
def test_a_disk_with_hardly_any_space_is_told_of(tmp_path: Path, size: int) -> None:
    said = on_a_disk(f"size={size}k", tmp_path, FILLING)[0]
    assert "no space is left on its disk" in said
    assert said.endswith("; make room there")


def test_a_directory_that_is_read_only_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    assert on_a_disk("ro", tmp_path, FILLING) == [
        f"{path} can't be used: nothing may be written there "
        f"({path}.lock: Read-only file system); allow it, or give another --state"
    ]


# --- Migrations -------------------------------------------------------------------------------

NOTES = "ALTER TABLE networks ADD COLUMN note TEXT NOT NULL DEFAULT ''"
#: As SQLite says that a table is changed (https://sqlite.org/lang_altertable.html#otheralter).
MADE_ANEW = """
    CREATE TABLE new_networks AS SELECT * FROM networks;
    DROP TABLE networks;
    ALTER TABLE new_networks RENAME TO networks;
    CREATE UNIQUE INDEX networks_by_name ON networks (name)
"""


def test_there_is_a_column_for_everything(recorded: Path) -> None:
    with closing(sqlite3.connect(recorded)) as db:
        columns = {
            table: tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})"))
            for table in ("networks", "endpoints", "bindings", "followings")
        }
    assert columns == {
        "networks": ("position", *NETWORK_COLUMNS),
        "endpoints": ("position", *ENDPOINT_COLUMNS),
        "bindings": ("position", *COLUMNS, "created", "interface"),
        "followings": ("position", *FOLLOWING_COLUMNS),
    }
    assert set(NETWORK_COLUMNS) == {each.name for each in fields(BridgeNetwork)}
    assert set(ENDPOINT_COLUMNS) == {each.name for each in fields(Endpoint)}
    assert set(FOLLOWING_COLUMNS) == {each.name for each in fields(Following)}


def test_a_new_file_is_of_the_newest_schema_and_has_no_copies(path: Path) -> None:
    loaded(path, [*MIGRATIONS, NOTES])
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    assert contents(path)[-1] == f"({NEXT},)"


@pytest.mark.parametrize("script", [NOTES, MADE_ANEW, f"{NOTES}; -- and a last word"])
def test_a_migration_keeps_what_is_there_and_a_copy(recorded: Path, script: str) -> None:
    before = contents(recorded)
    assert loaded(recorded, [*MIGRATIONS, script]) == STATE
    copy = recorded.with_name(f"state.sqlite3.before-v{NEXT}")
    assert contents(copy) == before
    assert mode(copy) == 0o600
    assert loaded(copy) == STATE


def test_a_file_of_the_first_schema_is_read_by_the_newest(path: Path) -> None:
    with SqliteStore(path, migrations=MIGRATIONS[:1]):
        pass
    edit(
        path,
        """
        INSERT INTO networks VALUES
            (1, 'lab', 'nat', 'nat', 'br0', '172.30.0.0/24', NULL, 0, 1, 1, NULL, NULL, '', 0);
        INSERT INTO endpoints VALUES (1, 'web', 'lab', '172.30.0.2', NULL, '');
        INSERT INTO bindings VALUES (1, 'lab', 'web', 'tcp', '0.0.0.0', 8080, '172.30.0.2', 80,
            '127.0.0.1', 8081, 7, 'nat', '', NULL, '2026-01-02T03:04:05+00:00');
        """,
    )
    state = loaded(path)
    assert [str(each) for each in state.bindings] == ["0.0.0.0:8080:172.30.0.2:80/tcp"]
    assert [each.ports_only for each in state.networks.values()] == [False]


def test_the_relay_that_was_started_last_is_known(path: Path) -> None:
    with SqliteStore(path) as store:
        assert store.relay() is None
        for pid in (7, 8):
            store.record_relay(RelayProcess(pid, 100, "/run/relay.sock"))
    with SqliteStore(path) as store:
        assert store.relay() == RelayProcess(8, 100, "/run/relay.sock")


def test_a_file_of_the_second_schema_follows_nothing_and_may(path: Path) -> None:
    with SqliteStore(path, migrations=MIGRATIONS[:2]):
        pass
    edit(
        path,
        """
        INSERT INTO networks VALUES
            (1, 'lab', 'nat', 'nat', 'br0', '172.30.0.0/24', NULL, 0, 1, 1, NULL, NULL, '', 0, 1);
        INSERT INTO endpoints VALUES (1, 'web', 'lab', '172.30.0.2', NULL, '');
        INSERT INTO bindings VALUES (1, 'lab', 'web', 'tcp', '0.0.0.0', 8080, '172.30.0.2', 80,
            NULL, NULL, 'nat', '', NULL, '2026-01-02T03:04:05+00:00');
        INSERT INTO former_ports VALUES (1, 'web', 'tcp', 81, 9000);
        """,
    )
    with SqliteStore(path) as store:
        state = store.load()
        assert [str(each) for each in state.bindings] == ["0.0.0.0:8080:172.30.0.2:80/tcp"]
        assert [each.interface for each in state.bindings] == [""]
        assert state.followings == ()
        assert store.former("web") == {(Protocol.TCP, 81): 9000}
        store.record([FOLLOWING], at=NOW)
    assert loaded(path).followings == (FOLLOWING,)
    assert path.with_name("state.sqlite3.before-v3").exists()


def test_each_migration_runs_once_and_keeps_its_own_copy(recorded: Path) -> None:
    chain = [*MIGRATIONS, NOTES, "UPDATE networks SET note = note || 'x'"]
    assert loaded(recorded, chain) == STATE
    copies = [recorded.with_name(f"state.sqlite3.before-v{number}") for number in (NEXT, NEXT + 1)]
    assert [contents(each)[-1] for each in copies] == [f"({NEWEST},)", f"({NEXT},)"]
    for copy in copies:
        copy.unlink()
    assert loaded(recorded, chain) == STATE
    assert not any(each.exists() for each in copies)
    with closing(sqlite3.connect(recorded)) as db:
        assert db.execute("SELECT note FROM networks").fetchall() == [("x",)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"{NOTES}; DROP TABLE colours", "no such table: colours"),
        ("DELETE FROM networks", "row 1 of endpoints belongs to nothing in networks"),
        ('DROP TABLE "no\nlonger"', "no such table: no longer"),
        ("DROP TABLE bindings; CREATE TABLE bindings (", 'near ";": syntax error'),
    ],
    ids=["error", "orphans", "two lines", "half a statement"],
)
def test_a_migration_that_fails_leaves_the_file_as_it_was(
    recorded: Path, script: str, reason: str
) -> None:
    before = contents(recorded)
    said = refusal(recorded, [*MIGRATIONS, script])
    assert said.startswith(f"{recorded} can't be brought to schema {NEXT}: ")
    assert reason in said
    assert contents(recorded) == before
    assert loaded(recorded) == STATE


def test_a_migration_that_fails_keeps_those_before_it(recorded: Path) -> None:
    assert f"to schema {NEXT + 1}" in refusal(recorded, [*MIGRATIONS, NOTES, "nonsense"])
    assert contents(recorded)[-1] == f"({NEXT},)"
    assert loaded(recorded, [*MIGRATIONS, NOTES]) == STATE


def test_a_newer_file_is_left_alone(recorded: Path) -> None:
    loaded(recorded, [*MIGRATIONS, NOTES])
    before = contents(recorded)
    schemas = f"its schema is {NEXT}, ours {NEWEST}"
    newer = f"{recorded} is of a newer hostports: {schemas}; install that one, or "
    copy = recorded.with_name(f"state.sqlite3.before-v{NEXT}")
    assert refusal(recorded) == f"{newer}put {copy} in its place"
    assert contents(recorded) == before
    copy.unlink()
    assert refusal(recorded) == f"{newer}give another --state"


def test_the_copy_of_before_can_take_the_place_of_a_newer_file(recorded: Path) -> None:
    with SqliteStore(recorded, migrations=[*MIGRATIONS, NOTES]) as newer:
        newer.record(removed=[WEB], at=NOW + timedelta(days=1))
    refusal(recorded)
    recorded.with_name(f"state.sqlite3.before-v{NEXT}").replace(recorded)
    assert loaded(recorded) == STATE


# --- Former ports -----------------------------------------------------------------------------


def test_former_ports_are_remembered_but_not_without_end(path: Path) -> None:
    (first,) = bindings([8080])
    others = [replace(first, endpoint=f"other{number}") for number in range(MOST_FORMER_PORTS - 1)]
    with SqliteStore(path) as store:
        store.record(removed=[replace(first, endpoint="oldest"), first, *others], at=NOW)
        assert [len(store.former(name)) for name in ("oldest", "web", "other0")] == [0, 1, 1]

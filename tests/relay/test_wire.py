"""Frames on a socket: whatever pieces they come in, they come out whole, or not at all."""

import fcntl
import json
import os
import resource
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.relay.wire import Assembly, Frame, Kind, Malformed
from tests.relay.inprocess import own_descriptors

#: Version, kind, number of descriptors, bytes of the body.
HEADER = struct.Struct("!HHII")
#: Numbers of descriptors around those that the kernel passes with one message (SCM_MAX_FD is 253).
COUNTS = (0, 1, 2, 252, 253, 254, 506, 600)

bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=20)


class Files:
    """Open files that can be told apart, wherever their descriptors go."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self._open = [os.memfd_create("file") for _ in range(count)]
        for each in self._open:
            stack.callback(os.close, each)

    def descriptors(self, count: int) -> list[int]:
        """So many, of one file after the other, and from the first again."""
        return [self._open[number % len(self._open)] for number in range(count)]

    def same(self, ours: Sequence[int], theirs: Sequence[int]) -> bool:
        """Whether two rows of descriptors are of the same files, in the same order."""
        return [os.fstat(each).st_ino for each in ours] == [
            os.fstat(each).st_ino for each in theirs
        ]


class Channel:
    """Where frames go in, and come out."""

    def __init__(self, stack: ExitStack) -> None:
        self.sender, self._receiver = map(stack.enter_context, socket.socketpair())
        self._receiver.settimeout(0)
        self._assembly = Assembly()
        stack.callback(self._assembly.close)

    def send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Write some bytes, with descriptors."""
        assert socket.send_fds(self.sender, [data], descriptors) == len(data)

    def receive(self) -> Frame | None:
        """What comes of all that waits to be read."""
        try:
            while (frame := self._assembly.receive(self._receiver)) is None:
                pass
        except BlockingIOError:
            return None
        return frame


@pytest.fixture
def channel() -> Iterator[Channel]:
    """Afterwards no descriptor is left open."""
    before = own_descriptors()
    with ExitStack() as stack:
        yield Channel(stack)
    assert own_descriptors() == before


def cut(frame: Frame, lengths: Sequence[int]) -> Iterator[tuple[bytes, Sequence[int]]]:
    """A frame in pieces of these lengths, again and again; descriptors come as it wants them."""
    for data, descriptors in frame.pieces():
        start = number = 0
        while start < len(data):
            length = lengths[number % len(lengths)]
            yield data[start : start + length], descriptors
            start += length
            number += 1


@given(bodies, cuts, st.sampled_from(COUNTS), st.integers(1, 100))
def test_a_frame_comes_out_whole_however_it_was_cut(
    body: object, lengths: Sequence[int], count: int, at_once: int
) -> None:
    """As many pieces wait to be read `at_once` as a socket has room for, or less."""
    with ExitStack() as stack:
        files, channel = Files(stack, 7), Channel(stack)
        descriptors = files.descriptors(count)
        came = None
        for number, piece in enumerate(cut(Frame(Kind.ADD, body, descriptors, 7), lengths), 1):
            assert came is None
            channel.send(*piece)
            if number % at_once == 0:
                came = channel.receive()
        came = came or channel.receive()
        assert came is not None
        stack.callback(came.close)
        assert (came.kind, came.body, came.version, came.lost) == (Kind.ADD, body, 7, 0)
        assert files.same(came.descriptors, descriptors)


@given(cuts, st.integers(0, 3), st.sampled_from(COUNTS))
def test_a_frame_that_is_not_completed_leaves_nothing_open(
    lengths: Sequence[int], missing: int, count: int
) -> None:
    with ExitStack() as stack:
        files = Files(stack, 7)
        before = own_descriptors()
        with ExitStack() as meanwhile:
            channel = Channel(meanwhile)
            frame = Frame(Kind.ADD, {"bindings": []}, files.descriptors(count))
            for piece in [*cut(frame, lengths)][: -1 - missing]:
                channel.send(*piece)
            assert channel.receive() is None
            channel.sender.close()
            with pytest.raises(EOFError):
                channel.receive()
        assert own_descriptors() == before


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let this process open only so many descriptors more; the kernel gives the lowest first."""
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(count + 1)]
    for each in taken:
        os.close(each)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("sent", "room"), [(1, 0), (5, 3), (253, 100), (600, 300)])
def test_descriptors_that_cannot_be_opened_are_counted_as_lost(
    channel: Channel, sent: int, room: int
) -> None:
    with ExitStack() as stack:
        descriptors = Files(stack, 7).descriptors(sent)
        for piece in Frame(Kind.ADD, [1, 2], descriptors).pieces():
            channel.send(*piece)
        with room_for(room):
            came = channel.receive()
        assert came is not None
        stack.callback(came.close)
        assert (came.body, len(came.descriptors), came.lost) == ([1, 2], room, sent - room)


def test_descriptors_that_come_are_not_passed_on_to_programs(channel: Channel) -> None:
    with ExitStack() as stack:
        for piece in Frame(Kind.RETIRE, None, Files(stack, 1).descriptors(3)).pieces():
            channel.send(*piece)
        came = channel.receive()
        assert came is not None
        stack.callback(came.close)
        for each in came.descriptors:
            assert fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def frame_of(body: bytes, descriptors: int = 0) -> bytes:
    """A frame with a body as it is."""
    return HEADER.pack(1, Kind.ADD, descriptors, len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="another-language"),
        pytest.param(b"\xff" * 100, id="nonsense"),
        pytest.param(frame_of(b""), id="no-body"),
        pytest.param(frame_of(b"{"), id="no-JSON"),
        pytest.param(frame_of(b'"\xff"'), id="no-UTF-8"),
        pytest.param(frame_of(b"[" * 100_000), id="too-deep"),
        pytest.param(frame_of(b"9" * 5000), id="too-large-a-number"),
        pytest.param(HEADER.pack(1, Kind.ADD, 0, 2**32 - 1), id="too-long-a-body"),
        pytest.param(frame_of(b"{}") + b"!", id="more-than-a-frame"),
        pytest.param(frame_of(b"{}") * 2, id="two-frames-at-once"),
    ],
)
def test_what_is_no_frame_is_refused(channel: Channel, data: bytes) -> None:
    channel.send(data)
    with pytest.raises(Malformed):
        channel.receive()


def test_more_descriptors_than_were_announced_are_refused(channel: Channel) -> None:
    with ExitStack() as stack:
        channel.send(frame_of(b"{}", 1))
        channel.send(b"\0", Files(stack, 1).descriptors(3))
        with pytest.raises(Malformed):
            channel.receive()


@given(st.binary(max_size=100) | st.binary(max_size=50).map(frame_of))
def test_any_bytes_give_a_frame_or_are_refused(data: bytes) -> None:
    with ExitStack() as stack:
        channel = Channel(stack)
        channel.send(data + b"\0")
        try:
            came = channel.receive()
        except Malformed:
            return
        assert came is None or json.dumps(came.body)

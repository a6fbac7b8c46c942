"""The tests' own tool: a thread finds its way back, and nothing is left behind."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.netns.namespaces import Namespace, namespace

NAMED = Path("/run/netns")


def current() -> int:
    """The network namespace that this thread is in, as a number."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def work_and_fail(names: list[str]) -> None:
    with namespace() as host, host.entered():
        names.append(host.name)
        raise ZeroDivisionError


def test_a_failure_leaves_no_namespace_and_the_thread_where_it_was() -> None:
    before = current()
    names: list[str] = []
    with pytest.raises(ZeroDivisionError):
        work_and_fail(names)
    assert current() == before
    assert not (NAMED / names[0]).exists()


def test_a_namespace_that_can_not_be_completed_is_removed() -> None:
    before = current()
    with pytest.raises(OSError, match="illegal IP address"), namespace(["nonsense/24"]) as host:
        assert host is None
    assert current() == before


def test_threads_enter_and_leave_without_regard_to_each_other() -> None:
    """The other thread enters last and leaves last, and goes back to where it was itself."""
    with ThreadPoolExecutor(1) as other, namespace() as one, namespace() as two:
        outside = other.submit(current).result()
        theirs = two.entered()
        with one.entered():
            other.submit(theirs.__enter__).result()
            assert len({current(), other.submit(current).result(), outside}) == 3
        assert current() == outside
        other.submit(theirs.__exit__, None, None, None).result()
        assert other.submit(current).result() == outside


def test_an_address_can_be_bound_and_reached_at_once() -> None:
    """Each time: Linux says yes to a new IPv6 address before packets find it."""
    for _ in range(20):
        with (
            namespace(["fd00:10::2/64"]) as host,
            host.entered(),
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ours,
        ):
            ours.bind(("fd00:10::2", 5353))
            ours.sendto(b"hello", ("fd00:10::2", 5353))
            ours.settimeout(10)
            assert ours.recv(100) == b"hello"


def test_a_namespace_that_is_gone_is_not_made_anew() -> None:
    with pytest.raises(FileNotFoundError), Namespace("hostports-gone").entered():
        pass
    assert not (NAMED / "hostports-gone").exists()

"""The relay's system calls, by ctypes and compiled: both do the same."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from ipaddress import ip_address
from typing import cast

import pytest

from hostports.relay.addresses import packed
from hostports.relay.calls import ROOM, Calls, LinuxCalls, Option
from hostports.relay.compiled import PACKAGE, build_folder
from tests.netns.namespaces import namespace
from tests.relay.inprocess import HOST
from tests.relay.peers import reset

CLOSED = 1 << 20
LINGER = Option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def compiled_calls() -> Calls:
    """Those of the build of these sources."""
    for file in (PACKAGE / build_folder()).rglob("fastcalls.*"):
        spec = spec_from_file_location("fastcalls", file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return cast("Calls", module)
    pytest.skip("nothing is compiled: `make setup` says why")


@pytest.fixture(params=["ctypes", "compiled"])
def calls(request: pytest.FixtureRequest) -> Calls:
    return LinuxCalls() if request.param == "ctypes" else compiled_calls()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with namespace([f"{HOST}/24"]) as host, host.entered(), ExitStack() as made:
        yield made


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets of TCP."""
    listening = stack.enter_context(socket.create_server((HOST, 0)))
    client = stack.enter_context(socket.create_connection(listening.getsockname()))
    return client, stack.enter_context(listening.accept()[0])


def test_who_waits_is_accepted_and_nobody_is_waited_for(calls: Calls, stack: ExitStack) -> None:
    listening = stack.enter_context(socket.create_server((HOST, 0)))
    listening.settimeout(0)
    assert calls.accept(listening.fileno()) == -errno.EAGAIN
    client = stack.enter_context(socket.create_connection(listening.getsockname()))
    accepted = stack.enter_context(socket.socket(fileno=calls.accept(listening.fileno())))
    assert accepted.getpeername() == client.getsockname()
    assert not accepted.get_inheritable()
    assert calls.read(accepted.fileno()) == -errno.EAGAIN


def test_a_port_is_dialled_and_its_answer_told(calls: Calls, stack: ExitStack) -> None:
    listening = stack.enter_context(socket.create_server((HOST, 0)))
    address = packed(ip_address(HOST), listening.getsockname()[1])
    dialled = stack.enter_context(socket.socket(fileno=calls.dial(socket.AF_INET, 0)))
    assert not os.get_blocking(dialled.fileno())
    assert calls.connect(dialled.fileno(), address) == 0
    assert calls.connect(dialled.fileno(), address) == 0
    assert dialled.getpeername() == listening.getsockname()


def test_where_nobody_listens_the_refusal_is_told(calls: Calls, stack: ExitStack) -> None:
    dialled = stack.enter_context(socket.socket(fileno=calls.dial(socket.AF_INET, 0)))
    address = packed(ip_address(HOST), 1)
    assert calls.connect(dialled.fileno(), address) == errno.ECONNREFUSED


def test_what_is_read_is_sent_as_often_as_asked(calls: Calls, stack: ExitStack) -> None:
    (client, accepted), (other, taker) = pair(stack), pair(stack)
    client.sendall(b"question")
    assert calls.read(accepted.fileno()) == 8
    assert calls.rest(5, 8) == b"ion"
    assert calls.write(other.fileno(), 5, 0) == 5
    assert calls.write(other.fileno(), 2, socket.MSG_MORE) == 2
    calls.end_output(other.fileno())
    with taker.makefile("rb") as whole:
        assert whole.read() == b"questqu"
    client.close()
    assert calls.read(accepted.fileno()) == 0


def test_a_target_that_is_full_takes_no_more(calls: Calls, stack: ExitStack) -> None:
    client, accepted = pair(stack)
    client.settimeout(0)
    for _ in range(10_000):
        if (sent := calls.write(client.fileno(), ROOM, 0)) != ROOM:
            break
    assert sent == -errno.EAGAIN or 0 < sent < ROOM
    assert accepted.recv(1)


def test_a_reset_is_told(calls: Calls, stack: ExitStack) -> None:
    client, accepted = pair(stack)
    reset(client)
    assert calls.read(accepted.fileno()) == -errno.ECONNRESET


def test_options_are_set_and_a_refused_one_does_not_matter(calls: Calls, stack: ExitStack) -> None:
    client, _ = pair(stack)
    calls.set_options(client.fileno(), (Option(socket.SOL_SOCKET, CLOSED, b"1234"), LINGER))
    found = client.getsockopt(LINGER.level, LINGER.name, len(LINGER.value))
    assert found == LINGER.value


def test_a_descriptor_that_is_closed_is_told(calls: Calls) -> None:
    assert calls.accept(CLOSED) == -errno.EBADF
    assert calls.read(CLOSED) == -errno.EBADF
    assert calls.write(CLOSED, 1, 0) == -errno.EBADF
    assert calls.connect(CLOSED, packed(ip_address(HOST), 1)) == errno.EBADF
    assert calls.dial(CLOSED, 0) == -errno.EAFNOSUPPORT


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, ROOM + 1)])
def test_compiled_calls_never_leave_their_buffer(start: int, end: int) -> None:
    calls = compiled_calls()
    with pytest.raises(ValueError, match="outside the buffer"):
        calls.rest(start, end)
    with pytest.raises(ValueError, match="outside the buffer"):
        calls.write(1, end if end > ROOM else -1, 0)


def test_compiled_calls_refuse_what_the_protocol_does_not_say() -> None:
    calls = compiled_calls()
    with pytest.raises(TypeError):
        calls.accept("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        calls.connect(1, "address")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        calls.set_options(1, ((1, 2),))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        calls.set_options(1, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        calls.write(os.getpid())  # type: ignore[call-arg]

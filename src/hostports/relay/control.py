"""The control channel: questions from the daemon, answered one at a time, and in turns."""

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from sys import float_info
from types import UnionType
from typing import Any, Final

from hostports.errors import HostportsError, RelayFailed
from hostports.model.port import PortBinding
from hostports.relay import wire
from hostports.relay.holdings import Holdings, Steps, by_step
from hostports.relay.log import Log
from hostports.relay.poller import Poller
from hostports.relay.wire import Assembly, Frame, Kind, Malformed

#: Kinds that every version answers.
_TIMELESS: Final = (Kind.HELLO, Kind.RETIRE)
_SUBJECT: Final = "control channel"
#: Seconds until another daemon is accepted when descriptors are short.
_RETRY_S: Final = 0.2


class Control:
    """Accepts daemons and works on what they ask, in the order in which it came.

    Work goes on after all others had a turn. A daemon that vanishes meanwhile is still obeyed.
    """

    def __init__(
        self, poller: Poller, log: Log, listening: socket.socket, holdings: Holdings
    ) -> None:
        self.poller = poller
        self.log = log
        self._listening = listening
        self._holdings = holdings
        self._waiting: deque[tuple[Session, Frame]] = deque()
        self._work: Steps[Frame] | None = None
        self._answering: set[Session] = set()
        self._leaving = False
        self._answered: dict[Kind, Callable[[Frame], Steps[Frame]]] = {
            Kind.HELLO: self._hello,
            Kind.RETIRE: self._retire,
            Kind.ADD: self._add,
            Kind.REMOVE: self._remove,
            Kind.DRAIN: self._drain,
            Kind.HELD: self._held,
            Kind.STOP: self._stop,
        }
        self._reserve: int | None = None
        listening.settimeout(0)
        self._listen()

    def ready(self, events: int) -> None:  # noqa: ARG002 - there is but one event
        """A daemon is there; for the first one there is always a descriptor."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        try:
            connection, _ = self._listening.accept()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.log.warn(_SUBJECT, f"nobody can be accepted: {error.strerror}; they wait")
            self.poller.forget(self._listening.fileno())
            self.poller.call_in(_RETRY_S, self._listen)
        else:
            Session(self, connection)
            self._restock()

    def asked(self, session: "Session", question: Frame) -> None:
        """Answer a question when those before it have been answered."""
        self._waiting.append((session, question))
        self.poller.again(self)

    def go_on(self) -> None:
        """Take a step of the work on the first question."""
        session, question = self._waiting[0]
        if self._work is None:
            self._work = self._answer(question)
        try:
            next(self._work)
        except StopIteration as done:
            self._work = None
            self._waiting.popleft()
            question.close()
            self._answering.add(session)
            session.answer(done.value)
        if self._waiting:
            self.poller.again(self)

    def answered(self, session: "Session") -> None:
        """An answer has been sent, or nobody wants it any more."""
        self._answering.discard(session)
        if self._leaving and not self._answering:
            self.poller.stop()

    def gone(self, session: "Session") -> None:
        """A daemon has hung up; its descriptor is kept for the next one."""
        self._restock()
        self.answered(session)

    def _leave(self) -> None:
        """Let the process end once everybody has been answered."""
        self._leaving = True
        if not self._answering and not self._waiting:
            self.poller.stop()

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._restock()
            self.poller.watch(self._listening.fileno(), select.EPOLLIN, self)

    def _restock(self) -> None:
        if self._reserve is None:
            with suppress(OSError):
                self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _answer(self, question: Frame) -> Steps[Frame]:
        """The answer: a body with a ``result``, or ``errors``."""
        try:
            return (yield from self._checked(question)(question))
        except HostportsError as error:
            errors = [error]
        except Malformed as error:
            errors = [RelayFailed(f"the question makes no sense: {error}")]
        return Frame(question.kind, {"errors": [wire.packed_error(each) for each in errors]})

    def _checked(self, question: Frame) -> Callable[[Frame], Steps[Frame]]:
        if question.kind not in _TIMELESS and question.version != wire.VERSION:
            raise RelayFailed(
                f"the relay speaks version {wire.VERSION} of its control protocol, "
                f"not {question.version}",
                "let it retire, and start another one",
            )
        if question.lost:
            raise RelayFailed(
                f"{question.lost} sockets are more than the relay may open",
                "raise its limit of open files (LimitNOFILE= of systemd)",
            )
        if question.kind not in self._answered:
            raise Malformed(f"kind {question.kind}")
        return self._answered[Kind(question.kind)]

    def _hello(self, question: Frame) -> Steps[Frame]:
        yield from ()
        return _result(question, {"version": wire.VERSION, "pid": os.getpid()})

    def _retire(self, question: Frame) -> Steps[Frame]:
        """Whoever takes over may now have a control socket at the same path."""
        yield from ()
        seconds = _seconds(question)
        self.poller.forget(self._listening.fileno())
        self._listening.close()
        given = self._holdings.retire(seconds, self._leave)
        return Frame(question.kind, {"result": None}, given)

    def _add(self, question: Frame) -> Steps[Frame]:
        bindings = yield from self._bindings(question)
        if len(bindings) != len(question.descriptors):
            raise Malformed(f"{len(bindings)} bindings, {len(question.descriptors)} descriptors")
        yield from self._holdings.add(bindings, question.descriptors)
        return _result(question)

    def _remove(self, question: Frame) -> Steps[Frame]:
        bindings = yield from self._bindings(question)
        errors = yield from self._holdings.remove(bindings)
        if errors:
            packed = [wire.packed_error(each) for each in errors]
            return Frame(question.kind, {"errors": packed})
        return _result(question)

    def _drain(self, question: Frame) -> Steps[Frame]:
        bindings = yield from self._bindings(question)
        yield from self._holdings.drain(bindings, _seconds(question))
        return _result(question)

    def _held(self, question: Frame) -> Steps[Frame]:
        held = yield from self._holdings.held()
        packed: list[Any] = []
        for some in by_step(held):
            packed += map(wire.packed_held, some)
            yield
        return _result(question, packed)

    def _stop(self, question: Frame) -> Steps[Frame]:
        """Whoever has not read an earlier answer by now is not waited for."""
        yield from ()
        self._answering.clear()
        self._leave()
        return _result(question)

    def _bindings(self, question: Frame) -> Steps[list[PortBinding]]:
        bindings: list[PortBinding] = []
        for some in by_step(_field(question, "bindings", list)):
            bindings += map(wire.unpacked_binding, some)
            yield
        return bindings


def _result(question: Frame, result: object = None) -> Frame:
    return Frame(question.kind, {"result": result})


def _seconds(question: Frame) -> float:
    seconds: float = _field(question, "seconds", int | float)
    if not 0 <= seconds <= float_info.max:
        raise Malformed(f"{seconds} seconds")
    return seconds


def _field(question: Frame, name: str, kind: type | UnionType) -> Any:  # noqa: ANN401 - JSON
    value = question.body.get(name) if isinstance(question.body, dict) else None
    if not isinstance(value, kind):
        raise Malformed(f"no {name}")
    return value


class Session:
    """A daemon that is connected. What it does wrong ends its session, and nothing else."""

    def __init__(self, control: Control, connection: socket.socket) -> None:
        self._control = control
        self._connection = connection
        self._assembly = Assembly()
        self._answer = Frame(0)
        self._pieces: deque[tuple[bytes, Sequence[int]]] = deque()
        connection.settimeout(0)
        control.poller.watch(connection.fileno(), select.EPOLLIN, self)

    def ready(self, events: int) -> None:  # noqa: ARG002 - what is waited for is known
        """Receive some more of a question, or send some more of an answer."""
        try:
            if self._pieces:
                self._send()
            else:
                self._receive()
        except BlockingIOError:
            pass
        except EOFError:
            self._close()
        except (OSError, Malformed) as error:
            self._control.log.warn(_SUBJECT, f"a daemon is hung up on: {error}")
            self._close()

    def answer(self, answer: Frame) -> None:
        """Send an answer; it may be that the daemon has hung up meanwhile."""
        self._answer = answer
        self._pieces.extend(answer.pieces())
        self._control.poller.watch(self._connection.fileno(), select.EPOLLOUT, self)

    def _receive(self) -> None:
        question = self._assembly.receive(self._connection)
        if question is not None:
            self._assembly = Assembly()
            self._control.poller.forget(self._connection.fileno())
            self._control.asked(self, question)

    def _send(self) -> None:
        while self._pieces:
            data, descriptors = self._pieces[0]
            sent = socket.send_fds(self._connection, [data], descriptors)
            if sent < len(data):
                self._pieces[0] = data[sent:], ()
            else:
                self._pieces.popleft()
        self._answer.close()
        self._control.poller.change(self._connection.fileno(), select.EPOLLIN)
        self._control.answered(self)

    def _close(self) -> None:
        self._assembly.close()
        self._answer.close()
        self._control.poller.forget(self._connection.fileno())
        self._connection.close()
        self._control.gone(self)

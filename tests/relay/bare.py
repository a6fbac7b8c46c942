"""A relay process as bare as it can be started, and daemons that speak to one as they like."""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

from hostports.relay.wire import Assembly, Frame
from tests.netns.namespaces import Namespace
from tests.relay.waiting import PATIENCE_S


@contextmanager
def started(
    where: Namespace,
    path: Path,
    *options: str,
    prefix: Sequence[str] = (),
    **how: Any,  # noqa: ANN401 - whatever Popen takes
) -> Iterator["Popen[bytes]"]:
    """A relay with a control socket; it is killed in the end, if it is still there."""
    command = [*prefix, sys.executable, "-m", "hostports.relay", *options]
    with where.entered(), socket.socket(socket.AF_UNIX) as control:
        control.bind(str(path))
        control.listen()
        process = Popen(command, stdin=control.fileno(), **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Stranger:
    """A daemon that may say anything on the control channel, and stop amid of it."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(PATIENCE_S)
        self.connection.connect(str(path))

    def say(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send some bytes, with copies of descriptors; a relay that hangs up need not take all."""
        sent = socket.send_fds(self.connection, [data], descriptors)
        with suppress(BrokenPipeError):
            self.connection.sendall(data[sent:])

    def tell(self, question: Frame) -> None:
        """Send a frame."""
        for data, descriptors in question.pieces():
            self.say(data, descriptors)

    def ask(self, question: Frame) -> Frame | None:
        """Send a frame, and give what `answer` gives."""
        self.tell(question)
        return self.answer()

    def answer(self) -> Frame | None:
        """The relay's next answer; None if it has hung up."""
        assembly = Assembly()
        with ExitStack() as stack:
            stack.callback(assembly.close)
            try:
                while (frame := assembly.receive(self.connection)) is None:
                    pass
            except (EOFError, ConnectionResetError):
                return None
            stack.pop_all()
        return frame

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.connection.close()

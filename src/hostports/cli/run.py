"""``hostports run``: a command whose ports are published while it runs."""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

from hostports.cli import bindings
from hostports.cli.contained import contain
from hostports.cli.parser import UsageError
from hostports.cli.private import private_daemon
from hostports.cli.session import PatientClient, Session
from hostports.cli.signals import Signals, Terminated
from hostports.cli.specs import check
from hostports.client.errors import ApiConflict, DaemonUnreachable
from hostports.errors import HostportsError, NotFound

_DEFAULT_NETWORK: Final = "default"
_BY_SIGNAL: Final = 128


def run(do: Session) -> int:
    """Publish, run, take down; the command's own exit status."""
    if not do.args.cmd:
        raise UsageError("CMD is missing", "write it behind --, see `hostports run --help`")
    check(do.args.specs)
    with Signals() as signals:
        try:
            return Run(do, signals).status()
        except Terminated as end:
            return _BY_SIGNAL + end.number


class Run:
    """One command's way through a host; whatever was made is taken down again."""

    def __init__(self, do: Session, signals: Signals) -> None:
        self._args = do.args
        self._console = do.console
        self._client = do.client
        self._private_daemon = do.private_daemon
        self._signals = signals
        self._undo = ExitStack()
        self._endpoint = self._args.name or f"run-{os.getpid()}"

    def status(self) -> int:
        """Run it; its exit status."""
        with self._undo:
            try:
                return self._run()
            finally:
                self._signals.hold()

    def _run(self) -> int:
        self._find_daemon()
        child = self._undo.enter_context(contain(self._args.cmd, self._signals))
        self._make_network()
        self._add_endpoint(child.pid)
        self._publish()
        self._console.flush()
        self._signals.forward_to(child.pid)
        child.go()
        return child.wait()

    def _find_daemon(self) -> None:
        """Where the daemon of the usual socket doesn't run, one of our own does."""
        try:
            self._client.health()
        except DaemonUnreachable:
            if hasattr(self._args, "socket"):  # this one was meant, and no other
                raise
            daemon = private_daemon(self._private_daemon, self._console.tell)
            self._client = PatientClient(self._console, self._undo.enter_context(daemon))

    def _make_network(self) -> None:
        """Make the default network where it is missing; others somebody has made on purpose."""
        if self._args.network != _DEFAULT_NETWORK or self._network_exists():
            return
        with self._signals.deferred():
            try:
                self._client.create_network(_DEFAULT_NETWORK)
            except ApiConflict:
                if not self._network_exists():  # made by another run at the same time
                    raise
            else:
                self._undo.callback(self._take_down, self._remove_network)

    def _network_exists(self) -> bool:
        try:
            self._client.network(_DEFAULT_NETWORK)
        except NotFound:
            return False
        return True

    def _remove_network(self) -> None:
        with suppress(ApiConflict):  # others have come to use it
            self._client.remove_network(_DEFAULT_NETWORK)

    def _add_endpoint(self, pid: int) -> None:
        with self._signals.deferred():
            self._client.add_endpoint(self._args.network, self._endpoint, pid=pid)
            self._undo.callback(
                self._take_down, partial(self._client.remove_endpoint, self._endpoint)
            )

    def _publish(self) -> None:
        if self._args.specs:
            answer = self._client.publish(
                self._endpoint,
                self._args.specs,
                mode=self._args.mode,
                allow_from=self._args.allow_from,
                wait_address=self._args.wait_address,
            )
            self._console.show_aside(answer, bindings.lines)

    def _take_down(self, step: Callable[[], object]) -> None:
        """One step; a failure doesn't change what the command has said by its status."""
        try:
            with suppress(NotFound):  # somebody else did it
                step()
        except HostportsError as error:
            self._console.tell(f"not taken down: {error}")

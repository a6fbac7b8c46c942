"""What the relay holds: bindings and who serves each of them.

Whatever concerns many bindings goes in steps: between them the relay serves everybody else, so that
a call of ten thousand bindings keeps no connection waiting.
"""

import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias, TypeVar

from hostports.core.relay.dialling import refuse_unfit
from hostports.errors import HostportsError, RelayFailed
from hostports.model.port import PortBinding
from hostports.model.port import Protocol as Transport
from hostports.model.relay import HeldBinding, RelayCounters
from hostports.relay.listener import StreamListener
from hostports.relay.poller import Poller
from hostports.relay.streams import Streams
from hostports.relay.udp import DatagramListener, Datagrams

Result = TypeVar("Result")
Item = TypeVar("Item")
#: Work that is done when it returns; every `yield` lets others have a turn.
Steps: TypeAlias = Generator[None, None, Result]

#: Bindings in one step: a few milliseconds.
_STEP: Final = 64
_TYPES: Final = {
    Transport.TCP: socket.SOCK_STREAM,
    Transport.UDP: socket.SOCK_DGRAM,
    Transport.SCTP: socket.SOCK_STREAM,
}
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class Listener(Protocol):
    """Whoever serves a binding."""

    @property
    def binding(self) -> PortBinding:
        """What it serves."""
        ...

    def counters(self) -> RelayCounters:
        """What it has relayed."""
        ...

    def drain(self, ended: Callable[[], None]) -> None:
        """Take no new clients; call back, once, when none is left, also because of `close`."""
        ...

    def give_away(self, ended: Callable[[], None]) -> int:
        """Drain, and give its socket to whoever serves the port from now on."""
        ...

    def close(self) -> None:
        """Reset all connections, end all sessions, and close the socket."""
        ...


class Holdings:
    """Bindings by who serves them, and those that drain, of which a binding can have several."""

    def __init__(self, poller: Poller, streams: Streams, datagrams: Datagrams) -> None:
        self._poller = poller
        self._streams = streams
        self._datagrams = datagrams
        self._serving: dict[PortBinding, Listener] = {}
        self._draining: dict[Listener, None] = {}
        self._emptied: Callable[[], None] | None = None

    def add(self, bindings: Sequence[PortBinding], descriptors: list[int]) -> Steps[None]:
        """Serve all, each on its descriptor, or raise `RelayFailed` and none.

        Descriptors are taken out of the list; those that are left there are not used.
        """
        for some in by_step(bindings):
            for each in some:
                self._refuse(each)
            yield
        if len(set(bindings)) < len(bindings):
            raise RelayFailed("a binding is given twice", "give each of them once")
        descriptors.reverse()
        added: list[PortBinding] = []
        try:
            for some in by_step(bindings):
                for each in some:
                    self._serving[each] = self._listener(each, descriptors.pop())
                    added.append(each)
                yield
        except BaseException:
            for each in added:
                self._serving.pop(each).close()
            raise

    def remove(self, bindings: Sequence[PortBinding]) -> Steps[list[HostportsError]]:
        """Stop serving; what went wrong. What isn't held has no effect."""
        gone = set(bindings)
        draining = [each for each in self._draining if each.binding in gone]
        serving = (self._serving.pop(each, None) for each in bindings)
        errors: list[HostportsError] = []
        for some in by_step([*draining, *filter(None, serving)]):
            for each in some:
                try:
                    each.close()
                except OSError as error:
                    errors.append(RelayFailed(f"{each.binding} can't be given up: {error}"))
            yield
        return errors

    def drain(self, bindings: Sequence[PortBinding], seconds: float) -> Steps[None]:
        """Take no new clients; those that are left after so many seconds are reset."""
        for some in by_step(bindings):
            for each in some:
                if listener := self._serving.pop(each, None):
                    listener.drain(self._until_ended(listener, seconds))
            yield

    def held(self) -> Steps[list[HeldBinding]]:
        """All bindings that were added and are neither removed nor drained to the end."""
        found: list[HeldBinding] = []
        for some in by_step([*self._serving.values(), *self._draining]):
            for each in some:
                draining = each in self._draining
                found.append(HeldBinding(each.binding, each.counters(), draining))
            yield
        return found

    def retire(self, seconds: float, emptied: Callable[[], None]) -> list[int]:
        """Drain all and give their sockets away; call back when no client is left."""
        listeners = list(self._serving.values())
        self._serving.clear()
        given = [each.give_away(self._until_ended(each, seconds)) for each in listeners]
        # Not before all of them drain: one after the other, they may be the only one that does.
        self._emptied = emptied
        self._tell_if_empty()
        return given

    def close(self) -> None:
        """Reset all connections, and hold nothing."""
        for each in [*self._serving.values(), *self._draining]:
            each.close()
        self._serving.clear()

    def _refuse(self, binding: PortBinding) -> None:
        refuse_unfit(binding)
        if binding in self._serving:
            raise RelayFailed(f"{binding} is relayed already", "remove it first")

    def _listener(self, binding: PortBinding, descriptor: int) -> Listener:
        """Serve a binding on a descriptor, which is closed if that fails."""
        try:
            given = socket.socket(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise RelayFailed(f"{binding} can't be relayed: {error.strerror}") from error
        if given.type != _TYPES[binding.protocol] or given.family not in _FAMILIES:
            given.close()
            raise RelayFailed(f"{binding} can't be relayed: its descriptor is no such socket")
        try:
            if binding.protocol.listens:
                return StreamListener(self._streams, binding, given)
            return DatagramListener(self._datagrams, binding, given)
        except OSError as error:
            given.close()
            raise RelayFailed(f"{binding} can't be relayed: {error.strerror}") from error

    def _until_ended(self, listener: Listener, seconds: float) -> Callable[[], None]:
        """Count a listener to those that drain, for so long at most; to be called at its end."""
        self._draining[listener] = None
        self._poller.call_in(seconds, listener.close)
        return partial(self._ended, listener)

    def _ended(self, listener: Listener) -> None:
        del self._draining[listener]
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and not self._draining:
            self._emptied()


def by_step(all_of_them: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """So many at once as one step takes."""
    for start in range(0, len(all_of_them), _STEP):
        yield all_of_them[start : start + _STEP]

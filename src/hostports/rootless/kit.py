"""`PortDriver` of a RootlessKit: its API, and a journal of what we asked for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from hostports.errors import HostportsError, PortDriverFailed
from hostports.model.host import PortDriverInfo
from hostports.model.port import SocketAddress
from hostports.rootless.api import Api, Refused
from hostports.rootless.journal import Journal
from hostports.rootless.words import forwarding_of, info_of, refusal, spec_of

_PORTS: Final = "/v1/ports"


class RootlessKit:
    """The RootlessKit whose API is at a path; `journal` is a file that goes when it goes."""

    def __init__(self, socket: Path, journal: Path) -> None:
        self._api = Api(socket)
        self._journal = Journal(journal)
        self._numbers: dict[SocketAddress, int] = {}

    def info(self) -> PortDriverInfo:
        """What its port driver can do; asked once, as RootlessKit can't change it."""
        return self._info

    def forwardings(self) -> Mapping[SocketAddress, SocketAddress]:
        """Our forwardings, also those of a daemon before us; what others ended is ours no more."""
        noted, listed = self._journal.noted(), self._listed()
        for parent in noted - listed.keys():
            self._journal.strike_out(parent)
        return {parent: listed[parent][0] for parent in noted & listed.keys()}

    def add(self, parent: SocketAddress, child: SocketAddress) -> None:
        """Ask for a forwarding, after it was noted."""
        new = self._journal.note(parent)
        try:
            made = self._api.ask("POST", _PORTS, spec_of(parent, child))
            self._numbers[parent] = int(made["id"])
        except Refused as refused:
            if new:
                self._journal.strike_out(parent)
            raise refusal(parent, self.info().name, refused.message) from refused
        except (LookupError, TypeError, ValueError) as error:
            raise self._meaningless(error) from error

    def remove(self, parent: SocketAddress) -> None:
        """End a forwarding by its number, which is looked up if it isn't known, or not any more."""
        number = self._numbers.pop(parent, None)
        if number is None or not self._ended(number):
            _, number = self._listed().get(parent, (None, None))
            if number is not None:
                self._end(parent, number)
        self._journal.strike_out(parent)

    def _ended(self, number: int) -> bool:
        try:
            self._api.ask("DELETE", f"{_PORTS}/{number}")
        except Refused:
            return False
        return True

    def _end(self, parent: SocketAddress, number: int) -> None:
        try:
            self._api.ask("DELETE", f"{_PORTS}/{number}")
        except Refused as refused:
            raise PortDriverFailed(
                f"RootlessKit's forwarding {number} of {parent} can't be ended: {refused.message}",
                f"end it with `rootlessctl remove-ports {number}`",
            ) from refused

    def _listed(self) -> dict[SocketAddress, tuple[SocketAddress, int]]:
        """Child and number of every forwarding, whoever asked for it."""
        try:
            listed = self._api.ask("GET", _PORTS)
        except Refused as refused:
            raise PortDriverFailed(
                f"RootlessKit doesn't tell its forwardings: {refused.message}"
            ) from refused
        if not isinstance(listed or [], list):
            raise self._meaningless(listed)
        found = filter(None, map(forwarding_of, listed or ()))
        return {parent: (child, number) for parent, child, number in found}

    @cached_property
    def _info(self) -> PortDriverInfo:
        try:
            return info_of(self._api.ask("GET", "/v1/info"))
        except Refused as refused:
            raise PortDriverFailed(
                f"RootlessKit doesn't tell what it is: {refused.message}",
                "install RootlessKit 0.14 or later",
            ) from refused
        except (AttributeError, TypeError, ValueError) as error:
            raise self._meaningless(error) from error

    @staticmethod
    def _meaningless(what: object) -> HostportsError:
        return PortDriverFailed(f"RootlessKit's answer makes no sense: {what}")

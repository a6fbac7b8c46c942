"""Which of RootlessKit's forwardings are ours: written down before it is asked for them.

RootlessKit doesn't know who asked, and a Docker daemon beside us asks for the same kind. The file
is in RootlessKit's state directory, and goes with it, as its forwardings do.
"""

import os
from ipaddress import ip_address
from pathlib import Path

from hostports.errors import PortDriverFailed
from hostports.model.port import Protocol, SocketAddress


class Journal:
    """The parent addresses of our forwardings, and maybe of some that have ended.

    One daemon at a time uses the file. All raise `PortDriverFailed` if it can't be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._noted: set[SocketAddress] = set()

    def noted(self) -> set[SocketAddress]:
        """What was noted and not struck out, also by those before us."""
        self._open()
        return set(self._noted)

    def note(self, parent: SocketAddress) -> bool:
        """Write down that a forwarding will be ours; whether it was not so yet."""
        self._open()
        if parent in self._noted:
            return False
        self._append("+", parent)
        self._noted.add(parent)
        return True

    def strike_out(self, parent: SocketAddress) -> None:
        """Write down that a forwarding has ended; no effect where it isn't noted."""
        self._open()
        if parent in self._noted:
            self._append("-", parent)
            self._noted.discard(parent)

    def _open(self) -> None:
        """Begin a file that holds what the one before us came to, and nothing else."""
        if self._file is not None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._noted = _read(self._path)
            fresh.write_text("".join(_line("+", each) for each in self._noted), encoding="ascii")
            fresh.replace(self._path)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except (OSError, TypeError, ValueError) as error:
            raise self._failed(error) from error

    def _append(self, sign: str, parent: SocketAddress) -> None:
        assert self._file is not None  # noqa: S101 - it is open
        try:
            os.write(self._file, _line(sign, parent).encode("ascii"))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> PortDriverFailed:
        return PortDriverFailed(
            f"{self._path}, where forwardings of RootlessKit are noted, can't be used: {error}"
        )


def _read(path: Path) -> set[SocketAddress]:
    noted: set[SocketAddress] = set()
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return noted
    # What a killed daemon was writing when it died, if anything, has no end.
    for line in text.split("\n")[:-1]:
        sign, *address = line.split(" ")
        (noted.add if sign == "+" else noted.discard)(_address(*address))
    return noted


def _line(sign: str, parent: SocketAddress) -> str:
    return f"{sign} {parent.protocol.value} {parent.ip} {parent.port}\n"


def _address(protocol: str, ip: str, port: str) -> SocketAddress:
    return SocketAddress(Protocol(protocol), ip_address(ip), int(port))

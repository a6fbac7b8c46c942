"""The web pages that the daemon serves on request, each by a process of its own.

The daemon is root, and whoever may connect to loopback is anybody on this host. So the daemon binds
the port, and a process without any right reads what they send (`hostports.ui`).
"""

import asyncio
import errno
import secrets
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from time import monotonic
from typing import Final

import msgspec

from hostports.api import convert
from hostports.errors import HostportsError, NotPermitted, PageFailed, PageRefused
from hostports.linux.holders import holder
from hostports.model.port import Protocol, SocketAddress
from hostports.model.published import PublishedPort

Ports = Callable[[], Awaitable[Sequence[PublishedPort]]]

_LOOPBACK: Final = "127.0.0.1"
#: Seconds from one sample to the next, and how much longer than a sample the rest after it is: with
#: tens of thousands of ports, samples take a third of a processor at most.
_INTERVAL_S: Final = 1.0
_REST: Final = 2
#: Seconds until a process that should end is ended.
_PATIENCE_S: Final = 5.0


class Pages:
    """All pages that are served; used on the event loop's thread only."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._served: set[ServedPage] = set()

    @asynccontextmanager
    async def opened(self, port: int) -> "AsyncIterator[ServedPage]":
        """Serve a page on a port of loopback, 0 for a free one, for the block.

        Raises `PageRefused`, `NotPermitted` or `PageFailed`.
        """
        listener = await asyncio.to_thread(_listening, port)
        with listener:
            process = await _started(listener)
            url = f"http://{_LOOPBACK}:{listener.getsockname()[1]}"
        page = ServedPage(url, process, self._ports)
        try:
            await page.begin()
            self._served.add(page)
            yield page
        finally:
            self._served.discard(page)
            await page.close()

    def end(self) -> None:
        """Take all pages off."""
        for page in self._served:
            page.end()


class ServedPage:
    """A page and its process, which is told what is published while somebody looks."""

    def __init__(self, url: str, process: Process, ports: Ports) -> None:
        self._token = secrets.token_urlsafe(32)
        self.url = f"{url}/?token={self._token}"
        self._process = process
        self._ports = ports
        self._off = asyncio.Event()
        self._looked_at = asyncio.Event()
        self._tasks: list[asyncio.Task[object]] = []

    async def begin(self) -> None:
        """Hand over the token, and wait until the process serves. Raises `PageFailed`."""
        with suppress(ConnectionError):
            await self._write(self._token.encode())
        assert self._process.stdout  # noqa: S101 - it is a pipe
        if await self._process.stdout.readline() != b"ready\n":
            raise await self._failure()
        works = (self._off.wait(), self._listen(self._process.stdout), self._feed())
        self._tasks = [asyncio.ensure_future(each) for each in works]

    async def ended(self) -> None:
        """Wait until the page is taken off. Raises `PageFailed` if its process ends."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not self._off.is_set():
            for task in self._tasks:
                if task.done():
                    task.result()
            raise await self._failure()

    def end(self) -> None:
        """Take the page off."""
        self._off.set()

    async def close(self) -> None:
        """End the process: it ends by itself when nobody tells it anything any more."""
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _failure(self) -> PageFailed:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        status = await self._process.wait()
        return PageFailed(f"the page's process has ended with status {status}", "see the log")

    async def _listen(self, told: asyncio.StreamReader) -> None:
        """Hear whether somebody looks, until the process ends."""
        while word := await told.readline():
            if word == b"looking\n":
                self._looked_at.set()
            elif word == b"away\n":
                self._looked_at.clear()
            else:
                raise PageFailed("the page's process says what it should not", "see the log")

    async def _feed(self) -> None:
        """Send samples while somebody looks."""
        with suppress(ConnectionError):  # the process has ended, which `_listen` sees
            while True:
                await self._looked_at.wait()
                began = monotonic()
                await self._write(await self._sample(began))
                took = monotonic() - began
                await asyncio.sleep(max(_INTERVAL_S - took, _REST * took))

    async def _sample(self, at: float) -> bytes:
        """What is published, as a line; or why that can't be said."""
        try:
            ports = await self._ports()
        except HostportsError as error:
            return msgspec.json.encode({"trouble": error.message})
        return await asyncio.to_thread(_spelt, at, ports)

    async def _write(self, line: bytes) -> None:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()


def _spelt(at: float, ports: Sequence[PublishedPort]) -> bytes:
    return msgspec.json.encode({"at": at, "bindings": convert.bindings(ports).bindings})


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((_LOOPBACK, port))
    except PermissionError as error:
        raise NotPermitted(
            f"port {port} may not be served", "choose a --port from 1024 on"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise PageFailed(f"no page can be served on port {port}: {error.strerror}") from error
        by = holder(SocketAddress(Protocol.TCP, IPv4Address(_LOOPBACK), port))
        raise PageRefused(
            f"{_LOOPBACK}:{port} is held by {by or 'another process'}",
            "choose another --port, or leave it out",
        ) from error


async def _started(listener: socket.socket) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            # -P: root imports nothing of the directory that the daemon was started in.
            *(sys.executable, "-P", "-m", "hostports.ui", str(listener.fileno())),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[listener.fileno()],
            # What stops the daemon, as Ctrl-C does, leaves it to the daemon to end the page.
            start_new_session=True,
        )
    except OSError as error:
        raise PageFailed(f"the page's process can't be started: {error}") from error

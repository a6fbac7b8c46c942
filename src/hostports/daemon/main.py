"""The daemon's life: start, serve, re-read, stop."""

import asyncio
import errno
import grp
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from hostports import __version__
from hostports.api.routes import application
from hostports.daemon import logs, systemd
from hostports.daemon.compose import Composition, compose, settings, take_down
from hostports.daemon.config import Config, load
from hostports.daemon.follow import following
from hostports.daemon.memory import expect_large_requests
from hostports.daemon.regain import Regainer
from hostports.daemon.service import RegistryService
from hostports.daemon.sole import claimed_namespace
from hostports.daemon.tasks import RETRY_S, Tasks
from hostports.daemon.watch import watching
from hostports.engine.restart import Return, serve_again
from hostports.errors import (
    DaemonThere,
    HostportsError,
    NotPermitted,
    ServingFailed,
    UnusableValue,
)
from hostports.model.event import Happening
from hostports.unix import listening_at

log: Final = logging.getLogger("hostports")
#: Requests under way get so many seconds when the daemon stops.
_PATIENCE_S: Final = 10.0
#: And whoever sends more than a request may be gets so many to read why.
_LINGER_S: Final = 1.0
#: Read and written by the owner and the group of the API's socket.
_SOCKET_MODE: Final = 0o660


def run(flags: Mapping[str, object], made: Callable[[Config], Composition] = compose) -> int:
    """Run the daemon until it is told to stop; the exit status. Raises `HostportsError`.

    `made` puts it together.
    """
    expect_large_requests()
    config = load(flags)
    logs.set_up(config.log_format)
    asyncio.run(Daemon(flags, config, made).live())
    return 0


class Daemon:
    """One life."""

    def __init__(
        self, flags: Mapping[str, object], config: Config, made: Callable[[Config], Composition]
    ) -> None:
        self._flags = flags
        self._config = config
        self._compose = made
        self._stop = asyncio.Event()
        self._up = asyncio.Event()
        self._composition: Composition
        self._service: RegistryService
        self._tasks = Tasks()

    async def live(self) -> None:
        """Claim the network namespace, live in it, and go."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reread_later)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        given = systemd.listening_socket()
        socket_path = given.getsockname() if given else self._config.api_socket.absolute()
        # Before anything is made, or a daemon that is refused would leave it.
        with claimed_namespace(str(socket_path)):
            await self._live(given)
            await self._go()

    async def _live(self, given: socket.socket | None) -> None:
        """Bring back what is recorded, and serve until told to stop."""
        with _listening(self._config, given) as listening:
            made = self._composition = await asyncio.to_thread(self._compose, self._config)
            self._service = RegistryService(made.registry, made.inspection, made.tracing)
            self._report(self._composition.returned)
            self._up.set()
            await self._watch_relay()
            self._tasks.start(Regainer(self._service).run())
            async with (
                watching(self._service, made.watches(), self._config),
                following(self._service, made.address_watch()),
            ):
                await self._serve(listening)

    async def _serve(self, listening: socket.socket) -> None:
        served = application(self._service, __version__, self._composition.registry.edges.ways)
        runner = web.AppRunner(
            served, access_log=None, shutdown_timeout=_PATIENCE_S, lingering_time=_LINGER_S
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            if not systemd.notify("READY=1"):
                print("ready", flush=True)  # noqa: T201 - for whoever started us
            log.info("serving at %s", listening.getsockname())
            await self._stop.wait()
            systemd.notify("STOPPING=1")
            self._service.bus.close()
        finally:
            await runner.cleanup()

    async def _go(self) -> None:
        """Leave what is published as it is, unless it shall go, too."""
        try:
            if self._config.down_on_exit:
                await self._service.change(partial(take_down, self._composition))
        finally:
            self._service.close()
            self._composition.store.close()
        log.info("stopped")

    def _report(self, returned: Return) -> None:
        for failure in returned.failures:
            log.error("not brought back: %s", failure)
        self._service.tell_lost(returned.lost)

    async def _watch_relay(self) -> None:
        """Wait for the relay's end, which nobody wants."""
        relay = self._composition.relay
        if relay is not None:
            pidfd = await asyncio.to_thread(relay.watch)
            asyncio.get_running_loop().add_reader(pidfd, self._relay_ended, pidfd)

    def _relay_ended(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        if not self._stop.is_set():
            self._tasks.start(self._replace_relay())

    async def _replace_relay(self) -> None:
        """Start another relay with fresh sockets; connections through the old one are lost."""
        log.error("the relay has ended, and with it all connections through it")
        while True:
            try:
                await self._service.change(self._start_relay)
                await self._watch_relay()
                break
            except HostportsError as error:
                log.warning("no relay yet: %s", error)
                await asyncio.sleep(RETRY_S)
        self._service.tell(Happening.RELAY_STARTED, message="connections by the relay were lost")
        await self._service.follow()
        self._service.tell_lost(self._composition.registry.lost)

    def _start_relay(self) -> None:
        made = self._composition
        if made.relay is not None:
            made.relay.attend()
            serve_again(made.registry, made.store.load())

    def _reread_later(self) -> None:
        self._tasks.start(self._reread())

    async def _reread(self) -> None:
        """SIGHUP: read the configuration again, and make the firewall anew; or keep both."""
        await self._up.wait()
        firewall = self._composition.firewall
        try:
            config = load(self._flags)
            # The relay that is there stays, or stays away, until the next start.
            wanted = replace(settings(config), relay=self._config.relay)
            await self._service.change(partial(firewall.reconfigure, wanted))
        except HostportsError as error:
            file = self._flags.get("config", "flags")
            log.warning("settings stay as they are, those of %s can't be taken: %s", file, error)
            return
        self._composition.registry.default_host_ip = config.default_host_ip
        self._service.tell(Happening.FIREWALL_REBUILT)
        log.info("configuration read again")


@contextmanager
def _listening(config: Config, given: socket.socket | None) -> Iterator[socket.socket]:
    """The API's socket: systemd's, if it has given one, or one of our own, which goes at the end.

    Raises `DaemonThere`, `NotPermitted` or `ServingFailed`.
    """
    path = config.api_socket
    try:
        for folder in (config.run, path.parent):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = given or _own_socket(config)
    except OSError as error:
        raise _not_served(path, error) from error
    with made:
        try:
            yield made
        finally:
            if given is None:
                path.unlink(missing_ok=True)


def _own_socket(config: Config) -> socket.socket:
    group = _group(config.group) if config.group else -1
    made = listening_at(config.api_socket, _SOCKET_MODE)
    os.chown(config.api_socket, -1, group)
    return made


def _not_served(path: Path, error: OSError) -> HostportsError:
    if error.errno == errno.EADDRINUSE:
        mend = "stop it, or choose another --run and --socket"
        return DaemonThere(f"another daemon serves at {path}", mend)
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(f"{path} can't be made: {error.strerror}", "run as root")
    return ServingFailed(f"nobody can be served at {path}: {error.strerror}")


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UnusableValue(name, "there is no such group", "add it with groupadd") from None

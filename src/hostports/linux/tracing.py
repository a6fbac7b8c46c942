"""Following packets: ``nft monitor trace``, and a table that marks which ones it is to tell of.

The table is owned by an nft process that waits for commands (NFT_TABLE_F_OWNER, Linux 5.12):
however that one ends, also with us, the kernel takes the table away.
"""

import asyncio
import socket
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from os import getpid
from pathlib import Path
from typing import Final

from hostports.core.doctor.trace import marking
from hostports.errors import FirewallFailed
from hostports.model.address import is_wildcard
from hostports.model.port import Protocol, SocketAddress

#: After the first packet, nothing for so long means that it has met all that it will meet.
_QUIET_S: Final = 1.0
#: Of a busy port the first packets tell enough.
_LONGEST_S: Final = 5.0
_GLANCE_S: Final = 0.01
#: Which netlink sockets hear what (netlink(7)); the columns of a process and its groups.
_NETLINK: Final = "/proc/{}/net/netlink"
_PID, _GROUPS = 2, 3

#: A monitor that hears nothing any more would wait for ever after we were killed (prctl(2)).
_ENDING_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")

_number = count()


class NftTracing:
    """`Tracing` of the network namespace that the process is in."""

    async def follow(
        self, to: SocketAddress, seconds: float, *, probe: bool
    ) -> AsyncGenerator[str, None]:
        """What nft tells of packets to an address and of answers, a line each.

        The first line is empty: from there on nothing is missed. It ends when nothing comes any
        more, or after so many seconds if nothing came at all. With `probe` this host asks itself.
        Raises `FirewallFailed`.
        """
        async with _started(*_ENDING_WITH_US, "nft", "monitor", "trace") as monitor, _marked(to):
            await _until_it_hears(monitor)
            yield ""
            if probe:
                _ask(to)
            async for line in _lines(monitor, seconds):
                yield line


async def _lines(monitor: Process, seconds: float) -> AsyncIterator[str]:
    assert monitor.stdout  # noqa: S101 - it was asked for
    loop = asyncio.get_running_loop()
    end, patience = loop.time() + seconds, seconds
    began = False
    while (left := min(patience, end - loop.time())) > 0:
        try:
            line = await asyncio.wait_for(monitor.stdout.readline(), left)
        except TimeoutError:
            return
        if not line:
            raise _ended()
        if not began:
            began, end, patience = True, loop.time() + _LONGEST_S, _QUIET_S
        yield line.decode(errors="replace")


@asynccontextmanager
async def _started(*command: str) -> AsyncIterator[Process]:
    """A process for a `with` block, after which it has ended."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )
    except FileNotFoundError:
        why = f"{command[0]} is not there, so nothing can be followed"
        raise FirewallFailed(why, "install nftables and util-linux") from None
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def _marked(to: SocketAddress) -> AsyncIterator[None]:
    """The table, for a `with` block. The kernel takes it away when its owner is gone."""
    script = marking(f"{getpid()}_{next(_number)}", to)
    async with _started("nft", "-i") as owner:
        assert owner.stdin  # noqa: S101 - it was asked for
        assert owner.stdout  # noqa: S101 - it was asked for
        owner.stdin.write(script.encode())
        while (line := await owner.stdout.readline()) != b"}\n":
            if not line or b"Error" in line:
                said = line.decode(errors="replace").strip().removeprefix("Error: ")
                why = f"nft can't follow packets: {said or 'it ended'}"
                raise FirewallFailed(why, "nft 1.0.2, Linux 5.12 and CAP_NET_ADMIN are needed")
        yield


async def _until_it_hears(monitor: Process) -> None:
    """A packet that comes before nft listens would not be told of."""
    while monitor.returncode is None:
        lines = Path(_NETLINK.format(monitor.pid)).read_text(encoding="ascii").splitlines()[1:]
        columns = [each.split() for each in lines]
        if any(each[_PID] == str(monitor.pid) and int(each[_GROUPS], 16) for each in columns):
            return
        await asyncio.sleep(_GLANCE_S)
    raise _ended()


def _ended() -> FirewallFailed:
    return FirewallFailed("nft monitor trace ended", "see whether it works by itself")


def _ask(to: SocketAddress) -> None:
    """Send one packet from this host; what comes of it, the trace tells."""
    family = socket.AF_INET if to.ip.version == 4 else socket.AF_INET6
    loopback = "127.0.0.1" if to.ip.version == 4 else "::1"
    host = loopback if is_wildcard(to.ip) else str(to.ip)
    kind = socket.SOCK_DGRAM if to.protocol is Protocol.UDP else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe, suppress(OSError):
        probe.settimeout(0)
        probe.connect((host, to.port))
        probe.send(b"")

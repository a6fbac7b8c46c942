"""The page's process: its life, and what it and the daemon tell each other.

It serves whoever connects, so it has no right but to do that. Standard input is a line with the
token, and then lines with samples; its end is the process's. Standard output is a word a line:
``ready``, and then ``looking`` or ``away`` when the first viewer comes or the last has gone.
"""

import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress
from typing import Final

import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from hostports.privileges import drop_privileges
from hostports.ui.audience import Audience
from hostports.ui.board import Board
from hostports.ui.document import Document, document
from hostports.ui.server import serve

#: Bytes of a sample at most: each of 65,535 ports of three protocols in half a thousand.
_LONGEST_LINE: Final = 128 << 20


def main() -> None:
    """Serve until standard input ends; the only argument is the listening socket's descriptor."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    page = document()  # nobody might not be able to read it
    os.chdir("/")
    drop_privileges("nobody")
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    asyncio.run(_live(listener, page))


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether an error is ours: anybody may send what is no HTTP, a traceback each."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _live(listener: socket.socket, page: Document) -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin.buffer)
    token = (await reader.readline()).decode().strip()
    if not token:  # the daemon has gone already
        return
    audience = Audience(lambda looking: _tell("looking" if looking else "away"))
    _tell("ready")  # the socket listens already
    await serve(listener, page, token, audience, _show(reader, audience))


async def _show(reader: asyncio.StreamReader, audience: Audience) -> None:
    """Show samples until there are no more."""
    while line := await reader.readline():
        _put(line, audience.board)
        await audience.show()


def _put(line: bytes, board: Board) -> None:
    sample = msgspec.json.decode(line)
    if "trouble" in sample:
        board.fail(sample["trouble"])
    else:
        board.take(sample["at"], sample["bindings"])


def _tell(word: str) -> None:
    with suppress(BrokenPipeError):  # it has gone, of which standard input tells as well
        print(word, flush=True)  # noqa: T201 - the daemon reads it

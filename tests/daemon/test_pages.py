"""The daemon's side of a web page: its port, its process, its samples, its end."""

import asyncio
import http.client
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hostports.daemon.pages import Pages, ServedPage
from hostports.errors import FirewallFailed, PageFailed, PageRefused
from hostports.model.published import PublishedPort
from tests.relay.waiting import PATIENCE_S


class Host:
    """What is published, and how often anybody asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False

    async def ports(self) -> Sequence[PublishedPort]:
        self.asked += 1
        if self.broken:
            raise FirewallFailed("nft is gone")
        return []


def children() -> set[int]:
    """The processes of pages, which are ours."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().split(b"\0")
            parent = int(entry.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"hostports.ui" in command and parent == os.getpid():
            found.add(int(entry.parent.name))
    return found


def status(url: str) -> int:
    where = urlsplit(url)
    with closing(http.client.HTTPConnection(where.netloc, timeout=PATIENCE_S)) as connection:
        connection.request("GET", f"{where.path}?{where.query}")
        return connection.getresponse().status


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """Look at a page's samples."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    token = where.query.removeprefix("token=")
    head = f"GET /samples HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):  # of a process that was killed
            await writer.wait_closed()


def test_a_page_is_served_for_a_block_on_loopback_only() -> None:
    async def scene() -> None:
        async with Pages(Host().ports).opened(0) as page:
            assert urlsplit(page.url).hostname == "127.0.0.1"
            assert await asyncio.to_thread(status, page.url) == 200
            assert await asyncio.to_thread(status, f"{page.url}x") == 403
            port = urlsplit(page.url).port
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port or 0), PATIENCE_S)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(status, page.url)

    asyncio.run(scene())
    assert children() == set()


def test_each_page_has_a_token_of_its_own_that_nobody_guesses() -> None:
    async def scene() -> tuple[str, str]:
        pages = Pages(Host().ports)
        async with pages.opened(0) as one, pages.opened(0) as other:
            return one.url, other.url

    tokens = [url.partition("token=")[2] for url in asyncio.run(scene())]
    assert len({*tokens}) == 2
    assert min(map(len, tokens)) >= 43  # 32 bytes in base64


def test_the_token_stands_in_nobodys_command_line_or_environment() -> None:
    async def scene() -> None:
        async with Pages(Host().ports).opened(0) as page:
            token = page.url.partition("token=")[2].encode()
            (child,) = children()
            for file in ("cmdline", "environ"):
                assert token not in Path(f"/proc/{child}/{file}").read_bytes()

    asyncio.run(scene())


def test_a_port_that_is_taken_is_refused_and_its_holder_named() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(PageRefused, match=rf"127.0.0.1:{port} is held by .*pid"):
                async with Pages(Host().ports).opened(port):
                    pass

    asyncio.run(scene())
    assert children() == set()


def test_a_port_that_was_asked_for_is_taken_and_given_back() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        for _ in range(2):
            async with Pages(Host().ports).opened(port) as page:
                assert urlsplit(page.url).port == port
                assert await asyncio.to_thread(status, page.url) == 200

    asyncio.run(scene())


def test_nothing_is_counted_until_somebody_looks() -> None:
    async def scene() -> None:
        host = Host()
        async with Pages(host.ports).opened(0) as page:
            await asyncio.to_thread(status, page.url)
            assert host.asked == 0
            async with looking(page.url) as reader:
                await reader.readuntil(b'"figures"')
            assert host.asked == 1

    asyncio.run(scene())


def test_what_cannot_be_counted_is_told_to_those_who_look() -> None:
    async def scene() -> None:
        host = Host()
        host.broken = True
        async with Pages(host.ports).opened(0) as page, looking(page.url) as reader:
            await reader.readuntil(b'{"trouble":"nft is gone"}')

    asyncio.run(scene())


async def ends(page: ServedPage) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await page.ended()


def test_all_pages_can_be_taken_off() -> None:
    async def scene() -> None:
        pages = Pages(Host().ports)
        async with pages.opened(0) as one, pages.opened(0) as other:
            pages.end()
            await ends(one)
            await ends(other)
        pages.end()

    asyncio.run(scene())
    assert children() == set()


def test_a_page_whose_process_is_killed_fails() -> None:
    async def scene() -> None:
        async with Pages(Host().ports).opened(0) as page, looking(page.url):
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            with pytest.raises(PageFailed, match="status -9"):
                await ends(page)

    asyncio.run(scene())
    assert children() == set()


def test_a_process_that_says_what_it_should_not_is_done_with() -> None:
    """Whoever has taken it over learns no more."""

    async def scene() -> None:
        script = "read token; echo ready; read sample; echo looking; echo your orders"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"{script}; cat > /dev/null"), stdin=pipe, stdout=pipe
        )
        page = ServedPage("http://127.0.0.1:1", process, Host().ports)
        await page.begin()
        assert process.stdin
        process.stdin.write(b"\n")
        with pytest.raises(PageFailed, match="says what it should not"):
            await ends(page)
        await page.close()

    asyncio.run(scene())


def test_a_process_that_hangs_does_not_keep_the_daemon() -> None:
    async def scene() -> None:
        async with asyncio.timeout(PATIENCE_S), Pages(Host().ports).opened(0):
            (child,) = children()
            os.kill(child, signal.SIGSTOP)

    asyncio.run(scene())
    assert children() == set()

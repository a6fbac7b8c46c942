"""``hostports ui`` in a real browser: real daemon, real rules, real traffic."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT

import pytest

from tests.e2e.browser import Tab, browsing
from tests.e2e.site import COMMAND, Site, host_probe, site
from tests.relay.waiting import PATIENCE_S, eventually

#: The table's rows as texts, and one port's sparklines.
ROWS = "[...document.querySelectorAll('tbody tr')].map((row) => row.innerText)"
LINES = (
    "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes({name!r}))"
    ".querySelectorAll('polyline')"
)
BACK = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    """Two networks with a container each, and ports of both."""
    with site(tmp_path) as made:
        for network, container in (("four", "four1"), ("nat", "nat1")):
            made.client.create_network(network)
            made.add_container(container)
        made.publish("nat1", "0.0.0.0:8080:80", "0.0.0.0:5353:53/udp")
        made.publish("four1", "127.0.0.1:9090:80")
        yield made


@contextmanager
def command(made: Site, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`hostports ui` while it runs, and the URL that it has printed."""
    line = [*COMMAND, "--socket", str(made.daemon.socket), "ui", *words]
    with made.lab.namespaces["host"].entered():
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def page(made: Site, folder: Path) -> Iterator[Tab]:
    """The page in a browser on the host."""
    with command(made) as (_, url), browsing(made.lab.namespaces["host"], folder) as tab:
        tab.open(url)
        tab.wait("document.querySelectorAll('tbody tr').length > 0")
        yield tab
        # Nobody else was asked for anything, and nothing went wrong.
        origin = url.partition("?")[0]
        assert {each for each in tab.asked if not each.startswith((origin, "data:,"))} == set()
        assert tab.complaints == []


def text(tab: Tab, selector: str) -> str:
    return str(tab.ask(f"document.querySelector({selector!r}).innerText"))


def test_the_page_shows_ports_who_holds_them_and_what_moves(made: Site, tmp_path: Path) -> None:
    with page(made, tmp_path / "browser") as tab:
        rows = tab.ask(ROWS)
        assert len(rows) == 3
        four, nat = (made.addresses[name][4] for name in ("four1", "nat1"))
        assert [each.split()[:5] for each in rows] == [
            ["127.0.0.1:9090/tcp", "four1", "four", f"{four}:80", "nat+relay"],
            ["0.0.0.0:5353/udp", "nat1", "nat", f"{nat}:53", "nat+relay"],
            ["0.0.0.0:8080/tcp", "nat1", "nat", f"{nat}:80", "nat+relay"],
        ]
        lines = LINES.format(name=":8080")
        for _ in range(3):
            assert made.answers(host_probe("remote", 8080)) == ["nat1"]
        # A line that moves has points of different heights.
        tab.wait(
            f"[...{lines}].every((line) => "
            "new Set([...line.points].map((point) => point.y)).size > 1)"
        )
        tab.wait("document.querySelector('#totals').innerText.includes('0 B/s')")  # and then rests
        row = next(each for each in tab.ask(ROWS) if ":8080" in each)
        assert "3 in all" in row  # connections
        still = LINES.format(name=":9090")
        assert tab.ask(f"[...{still}].every((line) => line.points.length === 2)")


def test_the_page_follows_ports_that_come_and_go(made: Site, tmp_path: Path) -> None:
    with page(made, tmp_path / "browser") as tab:
        made.publish("four1", "0.0.0.0:9191:81")
        tab.wait(f"{ROWS}.some((row) => row.includes(':9191'))")
        made.client.unpublish("nat1")
        tab.wait(f"{ROWS}.length === 2")
        made.client.unpublish("four1")
        tab.wait(f"{ROWS}.length === 0")
        assert text(tab, "#count") == "0 of 0 ports"


def test_search_and_sorting_work_by_keyboard(made: Site, tmp_path: Path) -> None:
    with page(made, tmp_path / "browser") as tab:
        for key in "/udp nat":
            tab.press(key)
        tab.wait(f"{ROWS}.length === 1")
        assert text(tab, "#count") == "1 of 3 ports"
        assert ":5353/udp" in tab.ask(ROWS)[0]
        tab.ask("document.querySelector('#search').value = ''")
        tab.press(" ")
        tab.wait(f"{ROWS}.length === 3")
        tab.ask("document.querySelector('[data-sort=host]').focus()")
        for direction, first in (("ascending", ":5353"), ("descending", ":9090")):
            tab.press("Enter", 13, "\r")
            tab.wait(f"document.querySelector('[aria-sort={direction}] [data-sort=host]')")
            assert first in tab.ask(ROWS)[0]


def test_the_page_is_light_or_dark_as_the_system_or_the_reader_likes(
    made: Site, tmp_path: Path
) -> None:
    with page(made, tmp_path / "browser") as tab:
        tab.prefer("light")
        light = tab.ask(BACK)
        tab.prefer("dark")
        dark = tab.ask(BACK)
        assert light != dark
        toggle = "document.querySelector('#theme')"
        for theme, back in (("light", light), ("dark", dark), ("auto", dark)):
            tab.ask(f"{toggle}.click()")
            assert text(tab, "#theme") == f"Theme: {theme}"
            assert tab.ask(BACK) == back


def test_a_paused_page_stands_still(made: Site, tmp_path: Path) -> None:
    with page(made, tmp_path / "browser") as tab:
        tab.ask("document.querySelector('#pause').click()")
        assert text(tab, "#state") == "paused"
        assert tab.ask("document.querySelector('#pause').ariaPressed") == "true"
        made.publish("four1", "0.0.0.0:9191:81")
        tab.ask("document.querySelector('#pause').click()")
        tab.wait(f"{ROWS}.some((row) => row.includes(':9191'))")


def test_a_table_is_one_for_those_who_hear_it(made: Site, tmp_path: Path) -> None:
    """Roles and names as a screen reader gets them."""
    with page(made, tmp_path / "browser") as tab:
        nodes = tab.tell("Accessibility.getFullAXTree")["nodes"]
        named = {
            (each["role"]["value"], each.get("name", {}).get("value", ""))
            for each in nodes
            if not each.get("ignored")
        }
        assert ("table", "Published ports, who holds them, and what passes through them") in named
        assert ("rowheader", "0.0.0.0:8080/tcp") in named
        assert ("searchbox", "Search") in named
        assert ("navigation", "Pages") in named
        assert {"columnheader", "status", "button"} <= {role for role, _ in named}
        assert [role for role, name in named if role in ("button", "searchbox") and not name] == []


def test_ten_thousand_ports_are_shown_a_page_at_a_time(made: Site, tmp_path: Path) -> None:
    made.publish("four1", "0.0.0.0:20000-29999:20000-29999")
    with page(made, tmp_path / "browser") as tab:
        assert text(tab, "#count") == "10003 of 10003 ports"
        assert len(tab.ask(ROWS)) == 50
        tab.ask("document.querySelector('#next').click()")
        assert text(tab, "#pages") == "Page 2 of 201"
        for key in "/:27777/":
            tab.press(key)
        tab.wait(f"{ROWS}.length === 1")
        assert text(tab, "#pages") == "Page 1 of 1"


def test_the_page_ends_with_ctrl_c_of_the_command(made: Site, tmp_path: Path) -> None:
    with (
        command(made) as (process, url),
        browsing(made.lab.namespaces["host"], tmp_path / "b") as tab,
    ):
        tab.open(url)
        tab.wait(f"{ROWS}.length === 3")
        process.send_signal(SIGINT)
        assert process.wait(PATIENCE_S) == 0
        tab.wait("document.querySelector('#state').innerText.startsWith('ended')")


def test_the_page_ends_with_the_command_however_that_ends_and_with_the_daemon(made: Site) -> None:
    def pages() -> int:
        with made.lab.namespaces["host"].entered():
            said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)  # noqa: S607
        return said.stdout.count("127.0.0.1:") - 1  # 9090 is published

    with command(made) as (process, _):
        assert pages() == 1
        process.kill()
        eventually(lambda: pages() == 0, "the page's end")
    with command(made) as (process, _):
        assert made.daemon.command("ui", "--off").returncode == 0
        assert process.wait(PATIENCE_S) == 0
    with command(made) as (process, _):
        made.daemon.stop()
        assert process.wait(PATIENCE_S) == 0
        made.daemon.start()
    with command(made) as (process, _):
        made.daemon.kill()
        assert process.wait(PATIENCE_S) == 1
        eventually(lambda: pages() == 0, "the page's end")
        made.daemon.start()


def test_nobody_on_another_host_reaches_the_page(made: Site) -> None:
    with command(made) as (_, url):
        port = int(url.partition("?")[0].rstrip("/").rpartition(":")[2])
        assert made.answers(host_probe("remote", port)) == ["refused"]


def test_top_shows_in_a_pipe_what_has_passed(made: Site) -> None:
    made.answers(host_probe("remote", 8080))
    done = made.daemon.command("top", "--batch", "-n", "1", "-d", "0.5", "--filter", "8080")
    assert done.returncode == 0
    assert "1 port: " in done.stdout
    assert "nat1      0.0.0.0:8080/tcp" in done.stdout

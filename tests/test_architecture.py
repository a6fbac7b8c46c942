"""The way through the house is one way: imports point down, siblings don't know each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "hostports"

#: What each room may import of hostports, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "brackets": set(),
    "model": {"errors", "brackets"},
    "core": {"errors", "model", "brackets"},
    "interfaces": {"errors", "model"},
    "engine": {"errors", "model", "core", "interfaces"},
    "linux": {"errors", "model", "core", "interfaces"},
    "relay": {"errors", "model", "core", "interfaces", "unix", "privileges"},
    "rootless": {"errors", "model", "core", "interfaces", "client"},
    "ui": {"core", "privileges"},
    "privileges": set(),
    "unix": set(),
    "lockfile": set(),
    "store": {"errors", "model", "core", "interfaces", "lockfile"},
    "api": {"errors", "model", "core", "interfaces", "engine"},
    "testing": {"errors", "model", "core", "interfaces"},
    "client": {"errors"},
    "cli": {"errors", "brackets", "model", "core", "client", "daemon"},
    "cni": {"errors", "brackets", "client"},
    "netavark": {"errors", "brackets", "client"},
    "daemon": {
        *("errors", "model", "core", "interfaces", "engine", "linux", "relay", "store", "api"),
        *("rootless", "unix", "lockfile"),
    },
    "__main__": {"cli"},
    "": {"errors", "model", "core", "engine", "client"},
}

WHY = {
    "core": "the core decides about values; it must not know who acts on its decisions",
    "engine": "the engine works with any edges; only the daemon names real ones",
    "linux": "an edge carries out what the core says, and knows no other edge",
    "relay": "the relay is a process of its own; it knows what it was given and nothing else",
    "rootless": "RootlessKit is asked as the client asks, over HTTP on a Unix socket",
    "store": "the store keeps what it is given; whoever wants it kept is above it",
    "client": "a client knows the API by its words, whoever serves it",
    "cli": "the command asks the daemon; only `hostports daemon` is one",
    "netavark": "the plugin asks the daemon, and starts for every container",
    "cni": "the plugin asks the daemon, and starts for every container",
    "api": "the API says what its service says; which that is, only the daemon knows",
    "ui": "the page's process serves strangers; it knows what it is told and nothing else",
    "testing": "a fake stands in for an edge and may know no more than one",
}

#: What a decision may not touch, and why.
BANNED_IN_DECIDERS = {
    "socket": "a decision is a function of facts; sockets are facts that edges read",
    "subprocess": "the core starts nothing",
    "os": "the core reads no environment, file or process",
    "pathlib": "the core reads no file",
    "time": "`now` is passed in, so that time can be tested",
    "random": "the same facts give the same decision",
    "logging": "deciders return warnings; whoever called them logs",
    "asyncio": "a decision waits for nothing",
    "pyroute2": "netlink is an edge's business",
}
#: Ways to ask what time it is.
CLOCKS = {"now", "utcnow", "today"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    """The package or module directly under hostports; empty for hostports itself."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py").removesuffix("__init__")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            yield node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    for name in imported(path):
        if name.startswith("hostports."):
            there = name.split(".")[1]
            allowed = MAY_IMPORT[here] | {here}
            assert there in allowed, (
                f"{here} imports {there}: {WHY.get(here, 'imports point down')}"
            )


@pytest.mark.parametrize("deciders", ["core", "model", "errors"])
def test_deciders_touch_nothing(deciders: str) -> None:
    for path in modules():
        if room(path) == deciders:
            for name in imported(path):
                top = name.split(".")[0]
                assert top not in BANNED_IN_DECIDERS, f"{path.name}: {BANNED_IN_DECIDERS[top]}"


@pytest.mark.parametrize("deciders", ["core", "model", "errors"])
def test_deciders_ask_no_clock(deciders: str) -> None:
    """They may know what a time is, but not which one it is now."""
    for path in modules():
        if room(path) == deciders:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert node.func.attr not in CLOCKS, f"{path.name}: `now` is passed in"


def test_files_and_functions_stay_small() -> None:
    """A function fits on a screen, a file has one reason to change."""
    for path in modules():
        tree = ast.parse(path.read_text())
        assert len(path.read_text().splitlines()) <= 400, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, f"{path.name}: {node.name}"


@pytest.mark.parametrize("plugin", ["cni", "netavark"])
def test_a_plugin_starts_without_what_is_heavy(plugin: str) -> None:
    """Runtimes start it for every container; see `bench.cli`."""
    code = f"import sys, hostports.{plugin}.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"argparse", "asyncio", "dataclasses", "hashlib", "http", "logging", "msgspec", "ssl"}
    assert not heavy & set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    """The command line and the CNI plugin start as fast as a bare interpreter."""

    code = "import sys; old = {*sys.modules}; import hostports; print(*{*sys.modules} - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"hostports"}

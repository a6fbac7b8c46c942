"""The parser: help for everything, and what else is made of it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from hostports.cli.completion import arguments
from hostports.cli.daemon import flags
from hostports.cli.parser import COMMANDS, Command, Parser, build_parser
from tests.cli.conftest import Cli
from tests.client.server import FakeServer, answer, refusal

#: What the commands that scripts call most must not import: each costs a part of a start.
HEAVY = (
    *("asyncio", "concurrent", "dataclasses", "email", "http", "importlib.metadata", "inspect"),
    *("ipaddress", "logging", "pathlib", "rich", "shtab", "shutil", "subprocess", "tempfile"),
    *("threading", "urllib", "hostports.core", "hostports.daemon", "hostports.model"),
)


def leaves(
    commands: tuple[Command, ...] = COMMANDS, before: str = ""
) -> Iterator[tuple[str, Command]]:
    """Every command that does something, and its words."""
    for command in commands:
        if command.parts:
            yield from leaves(command.parts, f"{before}{command.name} ")
        else:
            yield f"{before}{command.name}", command


LEAVES = list(leaves())
WORDS = [words for words, _ in LEAVES]


def test_every_argument_says_what_it_is_for() -> None:
    assert [each for each in arguments(build_parser()) if not each.help] == []


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=WORDS)
def test_help_names_every_argument(cli: Cli, words: str, command: Command) -> None:
    parser = Parser()
    if command.arguments:
        command.arguments(parser)
    done = cli(*words.split(), "--help")
    assert (done.status, done.err) == (0, "")
    for each in arguments(parser):
        for name in each.option_strings or [str(each.metavar or each.choices[0])]:  # type: ignore[index]  # a tuple
            assert name in done.out


@pytest.mark.parametrize(("group", "parts"), [(c.name, c.parts) for c in COMMANDS if c.parts])
def test_help_of_a_group_names_its_commands(
    cli: Cli, group: str, parts: tuple[Command, ...]
) -> None:
    for line in (["--help", group], [group, "--help"]):
        assert cli(*line).status == 0
    assert all(f"    {part.name} " in cli(group, "--help").out for part in parts)


def test_help_names_all_commands_whatever_else_is_there(cli: Cli) -> None:
    assert all(f"    {command.name} " in cli("--help", "ls").out for command in COMMANDS)


@pytest.mark.parametrize("command", [command for _, command in LEAVES], ids=WORDS)
def test_every_command_has_a_function(command: Command) -> None:
    module, _, function = command.home.partition(":")
    assert callable(getattr(import_module(f"hostports.cli.{module}"), function))


def test_the_commands_are_those_of_the_interface() -> None:
    assert WORDS == [
        "daemon",
        "run",
        "network create",
        "network ls",
        "network inspect",
        "network rm",
        "endpoint add",
        "endpoint ls",
        "endpoint inspect",
        "endpoint rm",
        "publish",
        "unpublish",
        "ls",
        "port",
        "top",
        "ui",
        "plan",
        "events",
        "reload",
        "doctor",
        "version",
        "completion",
    ]


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("", {}),
        ("--no-relay --json", {"no_relay": True}),
        (
            "--state s --run r --config c --group g --firewall none --default-host-ip ::1"
            " --dynamic-range 1-9 --allow-direct-routing --rootless off --log-format json"
            " --down-on-exit --socket x",
            {
                "state": "s",
                "run": "r",
                "config": "c",
                "group": "g",
                "firewall": "none",
                "default_host_ip": "::1",
                "dynamic_range": "1-9",
                "allow_direct_routing": True,
                "rootless": "off",
                "log_format": "json",
                "down_on_exit": True,
                "socket": "x",
            },
        ),
    ],
)
def test_the_daemon_gets_the_flags_that_were_given_and_no_others(
    line: str, given: dict[str, object]
) -> None:
    """What is left out may be in the configuration file."""
    assert flags(build_parser().parse_args(["daemon", *line.split()])) == given


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_is_as_wide_as_the_terminal(
    cli: Cli, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    widths = [len(line) for line in cli("reload", "--help").out.splitlines()]
    assert max(widths) <= int(columns)


def test_a_name_that_is_a_commands_confuses_nobody(server: FakeServer, cli: Cli) -> None:
    server.on("GET /v1/endpoints/publish/ports", refusal(404, "not_found", "no endpoint", ""))
    assert cli("port", "publish").status == 5
    assert cli("port", "ls").status == 5


def test_the_version_is_told_without_a_daemon(cli: Cli) -> None:
    assert cli("--version").out.startswith("hostports 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_a_script_of_the_shell(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).out
    for word in ("publish", "unpublish", "network", "endpoint"):
        assert word in script
    assert cli("completion", shell, "--json").document == {"shell": shell, "script": script[:-1]}
    if shutil.which(shell):
        done = subprocess.run(
            [shell, "-n"], input=script, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""


def test_bash_completes_commands_flags_and_choices(cli: Cli) -> None:
    script = cli("completion", "bash").out
    for words, completed in (
        ("hostports unp", "unpublish"),
        ("hostports network cr", "create"),
        ("hostports publish --allow", "--allow-from"),
        ("hostports completion zs", "zsh"),
    ):
        count = len(words.split()) - 1
        ask = f"COMP_WORDS=({words}); COMP_CWORD={count}; _shtab_hostports; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{ask}"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [completed]


def test_the_manual_page_has_every_command(tmp_path: Path) -> None:
    page = tmp_path / "hostports.1"
    program = Path(sys.executable).with_name("argparse-manpage")
    subprocess.run(
        [
            program,
            "--module",
            "hostports.cli.parser",
            "--function",
            "build_parser",
            "--output",
            page,
        ],
        check=True,
    )
    text = page.read_text().replace("\\-", "-")
    assert text.startswith(".TH HOSTPORTS")
    assert all(f"hostports {words}" in text for words in WORDS)


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "--json"],
        ["port", "web"],
        ["publish", "web", "8080:80", "53/udp", "127.0.0.1:8080:80"],
        ["unpublish", "web", "8080:80"],
        ["version"],
    ],
    ids=" ".join,
)
def test_what_scripts_call_most_imports_nothing_heavy(server: FakeServer, words: list[str]) -> None:
    """A start costs at most twice what a bare interpreter with json and socket does."""
    ports = answer({"bindings": []})
    for line in ("GET /v1/ports", "POST /v1/endpoints/web/ports", "DELETE /v1/endpoints/web/ports"):
        server.on(line, ports)
    server.on("GET /v1/health", answer({"version": "1"}))
    code = (
        "import sys; old = {*sys.modules}; from hostports.cli.main import main\n"
        f"main(['--socket', {str(server.path)!r}, *{words!r}]); print(*{{*sys.modules}} - old)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(server.requests) == 1
    imported = done.stdout.splitlines()[-1].split()
    assert [name for name in imported if name.startswith(HEAVY)] == []


@pytest.mark.parametrize(
    ("line", "late", "words"),
    [
        ("publish web --mode relay 80 443", "specs", ["80", "443"]),
        ("publish web 80 --mode relay 443", "specs", ["80", "443"]),
        ("unpublish web --kill 80", "specs", ["80"]),
        ("publish web -p 80 -p 443:443", "specs", ["80", "443:443"]),
        ("publish -p 80 web 443 --publish=53/udp 54", "specs", ["80", "443", "53/udp", "54"]),
        ("plan --mode relay -p 80 web", "specs", ["80"]),
        ("unpublish web -p80 --kill", "specs", ["80"]),
        ("port web --json 80", "port", "80"),
    ],
)
def test_specs_and_flags_may_come_in_any_order(
    line: str, late: str, words: list[str] | str
) -> None:
    found = build_parser(line.split()).parse_args(line.split())
    assert (found.endpoint, getattr(found, late)) == ("web", words)

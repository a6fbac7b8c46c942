"""Every argument of the command: the one source of --help, completion and the manual page."""

import argparse
import os
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, NoReturn

from hostports import __version__
from hostports.cli import publishing, watching
from hostports.errors import HostportsError, Kind

_GATEWAY_MODES: Final = ("nat", "nat-unprotected", "routed", "isolated")
#: Columns of a help text at most where $COLUMNS says nothing.
_WIDTH: Final = 98
#: How argparse begins to say so, before it lists all commands.
_NO_COMMAND: Final = "argument COMMAND: invalid choice: "


#: Flags of docker run that ask for what `run` always or never does.
_DOCKERS: Final = frozenset({"--detach", "--interactive", "--publish-all", "--rm", "--tty"})
#: The same and -p as letters, which may be joined: -it, -dp.
_DOCKERS_LETTERS: Final = frozenset("ditPp")


class UsageError(HostportsError):
    """The command line says something that we don't know; the message names the word."""

    kind = Kind.UNUSABLE


class _Formatter(argparse.HelpFormatter):
    """Without a width given, argparse imports shutil for each parser."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=max(_columns() - 2, 40))


def _columns() -> int:
    """How wide a help text may be."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns)
    try:
        return min(os.get_terminal_size().columns or _WIDTH, _WIDTH)
    except OSError:  # standard output is no terminal
        return _WIDTH


class Parser(argparse.ArgumentParser):
    """Raises `UsageError`, one line, where argparse prints many and exits.

    `rest` names the argument that takes everything behind ``--``, if one does; `not_dockers` says
    why flags of ``docker run`` mean nothing, where people try them.
    """

    rest = ""
    not_dockers = ""

    def error(self, message: str, hint: str = "") -> NoReturn:
        """Refuse the command line."""
        if message.startswith(_NO_COMMAND):
            word = message.removeprefix(_NO_COMMAND).partition(" (choose")[0]
            message = f"there is no command {word}"
        raise UsageError(message, hint or f"see `{self.prog} --help`")

    def parse_known_args(  # type: ignore[override]  # the other overloads are not ours to use
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the words before ``--`` where `rest` takes those behind, else all.

        What a command doesn't know is refused by itself, as its own help says what it does.
        """
        found, unknown = self._parsed(args, namespace)
        if unknown and not any(word.startswith("-") for word in unknown):
            unknown = self._taken_late(found, unknown)
        if unknown:
            hint = self.not_dockers if any(map(_is_dockers, unknown)) else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}", hint)
        return found, unknown

    def _parsed(
        self, args: Sequence[str], namespace: argparse.Namespace | None
    ) -> tuple[argparse.Namespace, list[str]]:
        if not self.rest or "--" not in args:
            return super().parse_known_args(args, namespace)
        cut = list(args).index("--")
        found, unknown = super().parse_known_args(args[:cut], namespace)
        begun = getattr(found, self.rest)  # without `--` before it, that word is its own
        setattr(found, self.rest, [*begun, *args[cut + (not begun) :]])
        return found, unknown

    def _taken_late(self, found: argparse.Namespace, words: list[str]) -> list[str]:
        """Give words behind a flag to an argument that takes any, and say which are left.

        argparse is done with such an argument before the flag, even if it has got none.
        """
        for action in self._get_positional_actions():
            taken = getattr(found, action.dest, None)
            if action.nargs == argparse.ZERO_OR_MORE:
                setattr(found, action.dest, [*(taken or ()), *words])
                return []
            if action.nargs == argparse.OPTIONAL and taken is None:
                setattr(found, action.dest, words[0])
                return words[1:]
        return words


def _is_dockers(word: str) -> bool:
    return word in _DOCKERS or (word[:1] == "-" and _DOCKERS_LETTERS.issuperset(word[1:]))


class Command(NamedTuple):
    """A command; `home` is the module and the function in `hostports.cli` that does it.

    A group of commands has `parts` instead.
    """

    name: str
    summary: str
    home: str = ""
    arguments: Callable[[Parser], None] | None = None
    parts: tuple["Command", ...] = ()


def build_parser(words: Collection[str] = ("--help",)) -> Parser:
    """The parser of a command line, or of all.

    A command whose name is none of the line's words can't be meant, so that its arguments, which
    take most of the time, are left out.
    """
    parser = Parser(
        prog="hostports",
        description="Publish ports of anything that has an IP address, as docker run -p does.",
        formatter_class=_Formatter,
        allow_abbrev=False,
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage or unusable input, 3 no daemon, "
        "4 conflict, 5 not found, 6 not permitted.",
    )
    parser.add_argument("--version", action="version", version=f"hostports {__version__}")
    _global_options(parser)
    _add_commands(parser, COMMANDS, None if {"-h", "--help"}.intersection(words) else words)
    return parser


def _add_commands(
    parser: Parser, commands: tuple[Command, ...], words: Collection[str] | None
) -> None:
    prog = parser.prog  # argparse would format a usage message to find it
    adder = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, prog=prog, parser_class=Parser
    )
    for command in commands:
        if words is not None and command.name not in words:
            continue
        made = adder.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        _global_options(made)
        made.set_defaults(home=command.home)
        if command.arguments:
            command.arguments(made)
        if command.parts:
            _add_commands(made, command.parts, words)


def _global_options(parser: Parser) -> None:
    """They may stand before and behind the command; unset they leave no trace."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="the daemon's socket (default: $HOSTPORTS_SOCKET, else /run/hostports/api.sock,"
        " inside RootlessKit $ROOTLESSKIT_STATE_DIR/hostports/api.sock)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print one JSON document, and errors as JSON on standard error",
    )


def _daemon(parser: Parser) -> None:
    parser.argument_default = argparse.SUPPRESS  # what isn't given may be in the file
    add = parser.add_argument
    add("--state", metavar="DIR", help="where the record is kept (default: /var/lib/hostports)")
    add("--run", metavar="DIR", help="where the sockets are (default: /run/hostports)")
    add("--config", metavar="FILE", help="a TOML file with these settings; flags win over it")
    add("--group", metavar="GROUP", help="the group that may use the API's socket")
    add(
        "--firewall",
        choices=("auto", "nftables", "iptables", "none"),
        help="what opens ports (default: auto)",
    )
    add("--no-relay", action="store_true", help="leave to the kernel what the relay would serve")
    add(
        "--default-host-ip",
        metavar="IP",
        help="the host address of specs without one (default: 0.0.0.0, for IPv4 and IPv6)",
    )
    add(
        "--dynamic-range",
        metavar="A-B",
        help="where free host ports are looked for (default: the kernel's ip_local_port_range)",
    )
    add(
        "--allow-direct-routing",
        action="store_true",
        help="let other hosts reach published ports at the containers' own addresses",
    )
    add(
        "--rootless",
        choices=("auto", "off"),
        help="forward ports by RootlessKit where it is there (default: auto)",
    )
    add("--log-format", choices=("text", "json"), help="what a log line is (default: text)")
    add("--down-on-exit", action="store_true", help="take down all that is published at the end")


def _run(parser: Parser) -> None:
    parser.rest = "cmd"
    parser.not_dockers = (
        "there is no image, CMD has the terminal, and nothing stays of it: leave out -d, -i, -t,"
        " --rm and -P"
    )
    parser.usage = (
        "%(prog)s [--network N] [--name E] [-p SPEC]... [--allow-from CIDR]... [--mode MODE]"
        " [--wait-address SECONDS] -- CMD ARG..."
    )
    parser.add_argument(
        "--network", metavar="N", default="default", help="its network (default: default)"
    )
    parser.add_argument("--name", metavar="E", help="the endpoint's name (default: run-PID)")
    publishing.spec_flag(parser, f"a port to publish: {publishing.SPEC}")
    publishing.options(parser)
    publishing.wait_address(parser)
    parser.add_argument(
        "cmd", metavar="CMD", nargs=argparse.REMAINDER, help="what runs inside, with its arguments"
    )


def _network_create(parser: Parser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="the network's name")
    add("--bridge", metavar="IFNAME", help="the bridge's name (default: made of the network's)")
    add(
        "--subnet",
        metavar="CIDR",
        dest="subnets",
        action="append",
        help="at most one per family (default: a free private /24 and a /64 of fd00::/8)",
    )
    for family in ("ipv4", "ipv6"):
        add(
            f"--gateway-mode-{family}",
            metavar="MODE",
            choices=_GATEWAY_MODES,
            help=f"{', '.join(_GATEWAY_MODES[:-1])} or {_GATEWAY_MODES[-1]} (default: nat)",
        )
    for family in ("IPv4", "IPv6"):
        add(
            f"--host-{family.lower()}",
            metavar="IP",
            help=f"the source address of outgoing {family} (default: the outgoing interface's)",
        )
    add("--internal", action="store_true", help="reach nothing else, be reached by nothing else")
    add("--no-icc", action="store_true", help="keep the network's endpoints from each other")
    add("--no-masquerade", action="store_true", help="let outgoing traffic keep its source")
    add(
        "--trusted-host-interface",
        metavar="IF",
        dest="trusted_host_interfaces",
        action="append",
        help="an interface whose hosts may reach endpoints directly; tun+ means all tun...",
    )
    add(
        "--existing-bridge", action="store_true", help="use --bridge as it is: it's somebody else's"
    )
    add(
        "--ports-only",
        action="store_true",
        help="publish ports of what is behind --bridge, any interface; all else is others' matter",
    )


def _network_rm(parser: Parser) -> None:
    _network_name(parser)
    parser.add_argument("--force", action="store_true", help="remove its endpoints, too")


def _network_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the network's name")


def _endpoint_add(parser: Parser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="the network's name")
    parser.add_argument("name", metavar="NAME", help="the endpoint's name")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--netns",
        metavar="PATH-OR-NAME",
        help="a network namespace to wire up: its file, or its name in /run/netns",
    )
    what.add_argument("--pid", metavar="PID", type=int, help="a process in the namespace")
    what.add_argument(
        "--address",
        metavar="IP",
        dest="addresses",
        action="append",
        help="an address that somebody else brought up; at most one per family",
    )
    for family in ("IPv4", "IPv6"):
        parser.add_argument(
            f"--{family.lower()}",
            metavar="IP",
            help=f"the namespace's {family} address (default: the network's next free one)",
        )


def _endpoint_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the endpoint's name")


def _completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="whose completion")


_NETWORK: Final = (
    Command("create", "create a network", "networks:create", _network_create),
    Command("ls", "list the networks", "networks:list_all"),
    Command("inspect", "show a network", "networks:inspect", _network_name),
    Command("rm", "remove a network without endpoints", "networks:remove", _network_rm),
)
_ENDPOINT: Final = (
    Command("add", "add an endpoint to a network", "endpoints:add", _endpoint_add),
    Command("ls", "list the endpoints", "endpoints:list_all"),
    Command("inspect", "show an endpoint", "endpoints:inspect", _endpoint_name),
    Command(
        "rm", "unpublish an endpoint's ports and remove it", "endpoints:remove", _endpoint_name
    ),
)
COMMANDS: Final = (
    Command("daemon", "run the daemon in the foreground", "daemon:run", _daemon),
    Command("run", "run a command in a namespace with published ports", "run:run", _run),
    Command("network", "create, list, show and remove bridge networks", parts=_NETWORK),
    Command("endpoint", "add, list, show and remove endpoints", parts=_ENDPOINT),
    Command(
        "publish", "publish ports of an endpoint, all or none", "ports:publish", publishing.publish
    ),
    Command("unpublish", "unpublish ports of an endpoint", "ports:unpublish", publishing.unpublish),
    Command("ls", "list everything that is published", "ports:list_all"),
    Command("port", "show where an endpoint's ports are published", "ports:port", publishing.port),
    Command("top", "show how much passes through each port, live", "top:show", watching.top),
    Command("ui", "serve a web page that shows ports, live, on this host", "ui:serve", watching.ui),
    Command("plan", "show what publish would do, without doing it", "ports:plan", publishing.plan),
    Command("events", "show what happens, as it happens", "host:events"),
    Command("reload", "make the firewall anew, and missing bridges and cables", "host:reload"),
    Command("doctor", "say what keeps clients from ports", "doctor:doctor", watching.doctor),
    Command("version", "show the versions of this command and the daemon", "host:version"),
    Command("completion", "print a shell's completion script", "completion:script", _completion),
)

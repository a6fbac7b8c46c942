"""The arguments of the commands that publish: ``publish``, ``plan``, ``unpublish`` and ``port``."""

from argparse import ArgumentParser
from typing import Final

from hostports.cli.times import seconds

#: What the API allows.
_MOST_WAITED_S: Final = 3600
SPEC: Final = (
    "[hostIP:][hostPort[-end]:]containerPort[-end][/tcp|udp|sctp], as behind docker run -p; "
    "an interface instead of the address, as eth0:8080:80, stands for all that it ever has"
)


def plan(parser: ArgumentParser) -> None:
    """Those of ``plan``."""
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    _specs(parser, SPEC)
    parser.add_argument("--compose", metavar="FILE", help="publish a service's ports: of this file")
    parser.add_argument("--service", metavar="SERVICE", help="its name (default: ENDPOINT)")
    options(parser)
    parser.add_argument(
        "--proxy-protocol",
        choices=("v2",),
        help="tell the container its client's address, by the PROXY protocol",
    )


def _specs(parser: ArgumentParser, what: str) -> None:
    """Specs as words of their own, or each behind a flag."""
    # With a default it isn't said to be required where the endpoint is missing.
    parser.add_argument("specs", metavar="SPEC", nargs="*", action="extend", default=[], help=what)
    spec_flag(parser, "a SPEC, as docker run is told one")


def spec_flag(parser: ArgumentParser, what: str) -> None:
    """A spec behind ``-p``."""
    parser.add_argument(
        "-p",
        "--publish",
        metavar="SPEC",
        dest="specs",
        action="append",
        default=[],
        help=f"{what}; may be given more than once",
    )


def publish(parser: ArgumentParser) -> None:
    """Those of ``publish``."""
    plan(parser)
    wait_address(parser)


def wait_address(parser: ArgumentParser) -> None:
    """How long a host address may be waited for."""
    parser.add_argument(
        "--wait-address",
        metavar="SECONDS",
        type=seconds(0, _MOST_WAITED_S),
        default=0,
        help="wait so long for a host address that isn't there yet"
        " (default: not at all, at most 3600)",
    )


def options(parser: ArgumentParser) -> None:
    """How ports are to be published."""
    parser.add_argument(
        "--mode",
        choices=("nat", "relay"),
        default="nat",
        help="nat: by the kernel, the relay for the rest; relay: by a listening socket of the "
        "host alone, which its INPUT rules decide about (default: nat)",
    )
    parser.add_argument(
        "--allow-from",
        metavar="CIDR",
        action="append",
        default=[],
        help="let only these sources in; may be given more than once",
    )


def unpublish(parser: ArgumentParser) -> None:
    """Those of ``unpublish``."""
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    _specs(parser, f"what to unpublish: {SPEC}")
    parser.add_argument("--all", action="store_true", help="unpublish all its ports")
    parser.add_argument("--kill", action="store_true", help="end established TCP connections, too")


def port(parser: ArgumentParser) -> None:
    """Those of ``port``."""
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    parser.add_argument(
        "port", metavar="PORT[/PROTO]", nargs="?", help="one container port (default: all)"
    )

"""The arguments of the commands that watch: ``top``, ``ui`` and ``doctor``."""

from argparse import ArgumentParser
from typing import Final

from hostports.cli.times import seconds

#: What the API allows.
_LONGEST_TRACE_S: Final = 600
_LONGEST_DELAY_S: Final = 86400
#: Of both; what is shorter is no wait.
_SHORTEST_S: Final = 0.1
#: What `top` sorts by.
_SORTINGS: Final = (
    *("packets", "bytes", "connections"),
    *("endpoint", "network", "host", "container"),
)


def top(parser: ArgumentParser) -> None:
    """Those of ``top``."""
    add = parser.add_argument
    add(
        "-d",
        "--delay",
        metavar="SECONDS",
        type=seconds(_SHORTEST_S, _LONGEST_DELAY_S),
        default=1.0,
        help="from one look to the next (default: 1)",
    )
    add("-n", "--iterations", metavar="N", type=int, help="end after so many (default: never)")
    add("-b", "--batch", action="store_true", help="print plain tables, as to a file or a pipe")
    add(
        "--sort",
        choices=_SORTINGS,
        default="bytes",
        help="by what is in this column, rates the highest first (default: bytes)",
    )
    add("--reverse", action="store_true", help="the other way round")
    add(
        "--filter",
        metavar="TEXT",
        default="",
        help="only ports that have all these words",
    )


def ui(parser: ArgumentParser) -> None:
    """Those of ``ui``."""
    parser.add_argument(
        "--port", metavar="PORT", type=int, help="its port on 127.0.0.1 (default: a free one)"
    )
    parser.add_argument("--off", action="store_true", help="take off all pages that are served")


def doctor(parser: ArgumentParser) -> None:
    """Those of ``doctor``."""
    parser.add_argument(
        "--trace",
        metavar="[ADDRESS:]PORT[/PROTO]",
        help="follow a real packet to this host port through all rules, and tell its way",
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=seconds(_SHORTEST_S, _LONGEST_TRACE_S),
        help="with --trace: how long to wait for a client's packet (default: 30, at most 600)",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="with --trace: send a packet from this host instead of waiting",
    )

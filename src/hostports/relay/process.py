"""The relay process: its loop, what it holds, and the control socket that it is started with."""

import gc
import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from hostports.model.relay import RelaySettings
from hostports.relay.calls import LinuxCalls
from hostports.relay.control import Control
from hostports.relay.holdings import Holdings
from hostports.relay.log import Log
from hostports.relay.poller import Poller
from hostports.relay.privileges import drop_privileges, raise_descriptor_limit
from hostports.relay.streams import Streams
from hostports.relay.udp import Datagrams


def main() -> None:
    """Serve until told to stop; standard input is the listening control socket (inetd's way)."""
    chosen = _options()
    raise_descriptor_limit()
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    os.chdir("/")
    drop_privileges(chosen.user)
    settings = RelaySettings(
        **{each.name: getattr(chosen, each.name) for each in fields(RelaySettings)}
    )
    serve(control, settings)


def serve(control: socket.socket, settings: RelaySettings) -> None:
    """Serve until told to stop."""
    # Nothing here refers to itself for long, and a collection would stop all traffic.
    gc.disable()
    poller = Poller()
    log = Log(poller)
    streams = Streams(poller, LinuxCalls(), log, settings)
    holdings = Holdings(poller, streams, Datagrams(poller, log, settings))
    Control(poller, log, control, holdings)
    poller.run()
    holdings.close()


def _options() -> Namespace:
    parser = ArgumentParser("hostports.relay", description=__doc__)
    parser.add_argument("--user", default="nobody", help="whom to become when started by root")
    for each in fields(RelaySettings):
        flag = f"--{each.name.replace('_', '-')}"
        parser.add_argument(flag, type=type(each.default), default=each.default)
    return parser.parse_args()

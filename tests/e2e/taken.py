"""A port that somebody else takes in the moment when nobody of us has it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from select import select
from signal import SIGCONT, SIGKILL, SIGSTOP

from hostports.relay.client import RelayClient
from tests.e2e.site import Site


@contextmanager
def taken(made: Site, port: int) -> Iterator[None]:
    """Kill the relay while the daemon can't see it, and let another process have its port."""
    daemon = made.daemon.process
    with RelayClient(made.daemon.folder / "run" / "relay.sock") as control:
        relay = control.hello().pid
    daemon.send_signal(SIGSTOP)
    with made.lab.namespaces["host"].entered(), os.fdopen(os.pidfd_open(relay)) as ended:
        os.kill(relay, SIGKILL)
        select([ended], [], [])
        with socket.create_server(("0.0.0.0", port)):
            daemon.send_signal(SIGCONT)
            yield

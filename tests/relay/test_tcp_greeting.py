"""A container that speaks first, and whose answer the relay sees late."""

import os
import signal
from pathlib import Path
from time import sleep

from tests.relay.lab import lab
from tests.relay.relays import running_relay
from tests.relay.services import serving


def test_a_greeting_that_comes_along_with_the_containers_answer_is_not_lost(
    control_path: Path,
) -> None:
    with lab() as own, running_relay(own, control_path) as relay, serving(relay) as service:
        own.set_link(own.container, "eth0", state="down")
        client = service.connect()
        sleep(0.1)
        os.kill(relay.process.pid, signal.SIGSTOP)
        try:
            own.set_link(own.container, "eth0", state="up")
            server = service.accept()
            server.sendall(b"greeting")
            sleep(0.1)
        finally:
            os.kill(relay.process.pid, signal.SIGCONT)
        client.settimeout(5)
        assert client.recv(100) == b"greeting"

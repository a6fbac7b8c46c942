"""A daemon of `run`'s own, in tests: it answers as told, and writes down what it was asked.

``stub_daemon.py RECORD [--fail STATUS | --pid-file FILE] --state DIR --run DIR --down-on-exit``
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from tests.cli.samples import ENDPOINT, IPV4, NETWORK
from tests.client.server import FakeServer, answer, refusal, serving


def instruct(server: FakeServer) -> None:
    """A host without networks, where everything succeeds."""
    server.on("GET /v1/health", answer({"status": "ok"}))
    server.on("GET /v1/networks/default", refusal(404, "not_found"))
    server.on("POST /v1/networks", answer(NETWORK, 201))
    server.on("POST /v1/networks/default/endpoints", answer(ENDPOINT, 201))
    server.on("POST /v1/endpoints/web/ports", answer({"bindings": [IPV4], "warnings": ["w"]}, 201))
    server.on("DELETE /v1/endpoints/web", answer())
    server.on("DELETE /v1/networks/default", answer())


def main() -> int:
    """Serve until SIGTERM; 0, or what was told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--fail", type=int, default=0)
    parser.add_argument("--pid-file", type=Path, help="for whoever means to kill it")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--down-on-exit", action="store_true", required=True)
    told = parser.parse_args()
    if told.fail:
        sys.stderr.write("a hint\nhostports: the firewall is broken\n")
        return int(told.fail)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # and in the server's threads
    with serving(told.run / "api.sock") as server:
        instruct(server)
        if told.pid_file:
            told.pid_file.write_text(str(os.getpid()))
            sys.stderr.write("hostports: the last words\n")
            sys.stderr.flush()
        sys.stdout.write("starting\nready\n")
        sys.stdout.flush()
        signal.sigwait([signal.SIGTERM])
    record = {"asked": server.asked, "run": str(told.run), "session": os.getsid(0)}
    told.record.write_text(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())

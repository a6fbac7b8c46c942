"""Records what a real RootlessKit answers: ``python -m tests.rootless.record``."""

import json
import socket
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hostports.client.http import Answer, request
from hostports.model.port import Protocol, SocketAddress
from hostports.rootless.words import spec_of
from tests.netns.namespaces import namespace
from tests.relay.peers import listening
from tests.rootless.kit import rootlesskit

RECORDINGS: Final = Path(__file__).with_name("recordings.json")
#: Of the namespace outside, which has not the other one.
HOST: Final = "192.0.2.10"
NOBODYS: Final = "198.51.100.1"
#: Who has it is somebody else, outside.
TAKEN_PORT: Final = 9999
#: slirp4netns's usual one, inside.
CHILD: Final = "10.0.2.100"


def added(port: int, ip: str = HOST) -> bytes:
    """A request for a forwarding."""
    parent = SocketAddress(Protocol.TCP, ip_address(ip), port)
    child = SocketAddress(Protocol.TCP, ip_address(CHILD), port)
    return request("POST", "/v1/ports", spec_of(parent, child))


#: In this order.
REQUESTS: Final = {
    "info": request("GET", "/v1/info"),
    "none listed": request("GET", "/v1/ports"),
    "added": added(8080),
    "added twice": added(8080),
    "taken": added(TAKEN_PORT),
    "privileged": added(80),
    "no such address": added(8081, NOBODYS),
    "listed": request("GET", "/v1/ports"),
    "removed": request("DELETE", "/v1/ports/1"),
    "removed twice": request("DELETE", "/v1/ports/1"),
    "unknown path": request("GET", "/v1/nothing"),
}


def recorded(driver: str) -> dict[str, str]:
    """The answers of a RootlessKit with a port driver."""
    with (
        TemporaryDirectory() as folder,
        namespace([f"{HOST}/24"]) as outside,
        rootlesskit(outside, Path(folder) / "home", f"--port-driver={driver}") as kit,
        listening(outside, "0.0.0.0", TAKEN_PORT),
    ):
        return {name: _exchanged(kit.api, each).decode() for name, each in REQUESTS.items()}


def _exchanged(api: Path, message: bytes) -> bytes:
    """A whole answer, as it came."""
    came, answer = b"", Answer()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(api))
        connection.sendall(message)
        while not answer.complete:
            piece = connection.recv(1 << 16)
            answer.feed(piece)
            came += piece
    return came


if __name__ == "__main__":
    answers = {driver: recorded(driver) for driver in ("builtin", "slirp4netns", "none")}
    RECORDINGS.write_text(json.dumps(answers, indent=1) + "\n")

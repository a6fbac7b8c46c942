"""Connections that are open while the daemon is started anew, or another version of all of it.

Each has an echo at its other end, in a container; half of them are led there by DNAT, from another
host, and half by the relay, from the host itself.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import hostports
from hostports.relay.client import RelayClient
from tests.e2e.site import DAEMON, Site, site
from tests.netns.lab import HOST_IPV4
from tests.relay.peers import BACKLOG, connected, listening

PORT: Final = 7000
_VERSION: Final = "VERSION: Final = "


@contextmanager
def connections(made: Site, number: int) -> Iterator[list[socket.socket]]:
    """So many of each kind, to an echo in container nat1."""
    with ExitStack() as stack:
        stack.enter_context(_echoing(made))
        clients = [
            stack.enter_context(connected(made.lab.namespaces[where], ip, PORT))
            for where, ip in (("remote", HOST_IPV4), ("host", "127.0.0.1"))
            for _ in range(number)
        ]
        see_all_alive(clients)
        yield clients


def see_all_alive(clients: list[socket.socket]) -> None:
    """Every one is answered, what it has said."""
    for number, each in enumerate(clients):
        each.sendall(b"%d\n" % number)
    for number, each in enumerate(clients):
        assert each.recv(100) == b"%d\n" % number


@contextmanager
def _echoing(made: Site) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.survival.echo"]
    with listening(made.lab.namespaces["nat1"], "0.0.0.0", PORT, BACKLOG) as server:
        process = subprocess.Popen(command, stdin=server.fileno())
    with process:
        try:
            yield
        finally:
            process.kill()


def other_version(folder: Path) -> tuple[str, ...]:
    """The daemon of another version, whose relay speaks another control protocol."""
    (package,) = hostports.__path__
    shutil.copytree(package, folder / "hostports")
    wire = folder / "hostports" / "relay" / "wire.py"
    text = wire.read_text()
    number = int(text.partition(_VERSION)[2].split()[0])
    wire.write_text(text.replace(f"{_VERSION}{number}", f"{_VERSION}{number + 1}"))
    return ("env", f"PYTHONPATH={folder}", *DAEMON)


def stopped(made: Site, _: Path) -> None:
    """The daemon is stopped and started."""
    made.daemon.stop()
    made.daemon.start()


def killed(made: Site, _: Path) -> None:
    """The daemon is killed and started."""
    made.daemon.kill()
    made.daemon.start()


def replaced(made: Site, folder: Path) -> None:
    """Another version is started, with another relay, and then ours again."""
    relays = [_relay(made)]
    made.daemon.stop()
    made.daemon.launch(program=other_version(folder))
    assert made.daemon.serves()
    relays.append(_relay(made))
    stopped(made, folder)
    assert len({*relays, _relay(made)}) == 3


def moved(made: Site, _: Path) -> None:
    """Another ``--run`` is given, and then the former one again; each has a relay of its own."""
    relays, run = [_relay(made)], made.daemon.run
    for each in (made.daemon.folder / "elsewhere", run):
        made.daemon.stop()
        made.daemon.run = each
        made.daemon.start()
        relays.append(_relay(made))
    assert len(set(relays)) == 3


def unlinked(made: Site, _: Path) -> None:
    """The relay's socket is removed while no daemon runs."""
    relay = _relay(made)
    made.daemon.stop()
    (made.daemon.run / "relay.sock").unlink()
    made.daemon.start()
    assert _relay(made) != relay


def _relay(made: Site) -> int:
    with RelayClient(made.daemon.run / "relay.sock") as relay:
        return relay.hello().pid


RESTARTS: Final[Mapping[str, Callable[[Site, Path], None]]] = {
    each.__name__: each for each in (stopped, killed, replaced, moved, unlinked)
}


def survive(folder: Path, number: int) -> Iterator[str]:
    """See that so many connections of each kind outlive every restart, and new ones are served."""
    with site(folder) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", f"{PORT}:{PORT}", "8080:80")
        with connections(made, number) as clients:
            for name, restart in RESTARTS.items():
                restart(made, folder / "other")
                see_all_alive(clients)
                with connected(made.lab.namespaces["host"], "127.0.0.1", PORT) as late:
                    see_all_alive([late])
                yield f"{name}: {len(clients)} connections went on"

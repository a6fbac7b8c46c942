"""A server that says what it is told, on the listening socket that is its standard input.

A process of its own: with both ends of thousands of connections one would have too many open files.
``python -m tests.survival.echo``
"""

import selectors
import socket
from contextlib import ExitStack

_STDIN = 0


def echo(server: socket.socket) -> None:
    """Serve for ever."""
    with selectors.DefaultSelector() as ready, ExitStack() as stack:
        ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                there = key.fileobj
                assert isinstance(there, socket.socket)
                if there is server:
                    client = stack.enter_context(server.accept()[0])
                    ready.register(client, selectors.EVENT_READ)
                elif data := there.recv(100):
                    there.sendall(data)
                else:
                    ready.unregister(there)


if __name__ == "__main__":
    echo(socket.socket(fileno=_STDIN))

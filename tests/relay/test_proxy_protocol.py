"""The PROXY protocol towards a reader that isn't ours: nginx, in the container."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from hostports.interfaces import RelayedBinding
from hostports.linux.sockets import LinuxHostSockets
from hostports.model.port import PortBinding, Protocol, ProxyProtocol, PublishMode
from tests.relay.lab import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    CLIENT_LINK_LOCAL,
    CONTAINER_IPV4,
    CONTAINER_IPV6,
    HOST_IPV4,
    HOST_IPV6,
    HOST_LINK_LOCAL,
    Lab,
)
from tests.relay.peers import BLOCK, connected, listening, read_all, read_exactly, send_and_end
from tests.relay.relays import RunningRelay
from tests.relay.waiting import PATIENCE_S, eventually

NGINX: Final = Path(__file__).parents[2] / ".venv/nginx/usr/sbin/nginx"
#: Answers with the ends of the connection as it was told of them; its files are in its prefix.
CONFIGURATION: Final = f"""
    daemon off;
    master_process off;
    pid pid;
    events {{}}
    http {{
        access_log off;
        client_body_temp_path temporary;
        proxy_temp_path temporary;
        fastcgi_temp_path temporary;
        uwsgi_temp_path temporary;
        scgi_temp_path temporary;
        server {{
            listen {CONTAINER_IPV4}:80 proxy_protocol;
            listen [{CONTAINER_IPV6}]:80 proxy_protocol;
            return 200 "$proxy_protocol_addr $proxy_protocol_port \
$proxy_protocol_server_addr $proxy_protocol_server_port";
        }}
    }}
"""


@pytest.fixture
def nginx(lab: Lab, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "nginx.conf").write_text(CONFIGURATION)
    with lab.container.entered():
        command: list[str | Path] = [NGINX, "-e", "stderr", "-p", tmp_path, "-c", "nginx.conf"]
        process = subprocess.Popen(command)
    try:
        eventually(lambda: listens(lab, process), "nginx listens")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def listens(lab: Lab, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "nginx has ended"
    try:
        connected(lab.container, CONTAINER_IPV4, 80).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def published(
    relay: RunningRelay,
    host_ip: str,
    container_ip: str,
    proxy_protocol: ProxyProtocol | None = ProxyProtocol.V2,
) -> Iterator[None]:
    """Port 8080 of the host leads to port 80 of the container."""
    binding = PortBinding(
        network="lab",
        endpoint="web",
        protocol=Protocol.TCP,
        host_ip=ip_address(host_ip),
        host_port=8080,
        container_ip=ip_address(container_ip),
        container_port=80,
        mode=PublishMode.RELAY,
        proxy_protocol=proxy_protocol,
    )
    sockets = LinuxHostSockets()
    with relay.lab.host.entered():
        sockets.reserve(binding.socket)
        sockets.listen(binding.socket, relayed=True)
    relay.control.add([RelayedBinding(binding, sockets.fileno(binding.socket))])
    sockets.release(binding.socket)
    try:
        yield
    finally:
        relay.control.remove([binding])


def asked(client: socket.socket) -> list[str]:
    """What the web server says of the connection; nothing if it hangs up."""
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    try:
        answer = read_all(client)
    except ConnectionResetError:
        return []
    return answer.partition(b"\r\n\r\n")[2].decode().split()


@pytest.mark.usefixtures("nginx")
@pytest.mark.parametrize(
    ("host_ip", "container_ip", "reached", "source"),
    [
        pytest.param("0.0.0.0", CONTAINER_IPV4, HOST_IPV4, CLIENT_IPV4, id="IPv4"),
        pytest.param("::", CONTAINER_IPV6, HOST_IPV6, CLIENT_IPV6, id="IPv6"),
        pytest.param("::", CONTAINER_IPV4, HOST_IPV6, CLIENT_IPV6, id="IPv6-to-IPv4"),
        pytest.param("::", CONTAINER_IPV6, HOST_LINK_LOCAL, CLIENT_LINK_LOCAL, id="link-local"),
    ],
)
def test_a_web_server_is_told_who_its_client_is_and_whom_it_connected_to(
    relay: RunningRelay, host_ip: str, container_ip: str, reached: str, source: str
) -> None:
    address = f"{reached}%eth0" if reached == HOST_LINK_LOCAL else reached
    with (
        published(relay, host_ip, container_ip),
        connected(relay.lab.client, address, 8080) as client,
    ):
        port = client.getsockname()[1]
        assert asked(client) == [source, str(port), reached, "8080"]


@pytest.mark.usefixtures("nginx")
def test_that_web_server_answers_nobody_without_a_header(relay: RunningRelay) -> None:
    with (
        published(relay, "0.0.0.0", CONTAINER_IPV4, proxy_protocol=None),
        connected(relay.lab.client, HOST_IPV4, 8080) as client,
    ):
        assert asked(client) == []


def test_the_header_does_not_wait_for_the_client_to_speak(relay: RunningRelay) -> None:
    with (
        listening(relay.lab.container, CONTAINER_IPV4, 80) as server,
        published(relay, "0.0.0.0", CONTAINER_IPV4),
        connected(relay.lab.client, HOST_IPV4, 8080) as client,
    ):
        accepted, _ = server.accept()
        accepted.settimeout(PATIENCE_S)
        with accepted:
            assert len(read_exactly(accepted, 28)) == 28
            accepted.sendall(b"220 ready")
            assert client.recv(100) == b"220 ready"
            client.sendall(b"HELO")
            assert accepted.recv(100) == b"HELO"


def test_what_the_client_says_follows_unchanged(relay: RunningRelay) -> None:
    with (
        listening(relay.lab.container, CONTAINER_IPV4, 80) as server,
        published(relay, "0.0.0.0", CONTAINER_IPV4),
        connected(relay.lab.client, HOST_IPV4, 8080) as client,
    ):
        client.sendall(BLOCK[:100_000])
        accepted, _ = server.accept()
        accepted.settimeout(PATIENCE_S)
        with accepted:
            send_and_end(client, BLOCK[100_000:200_000])
            assert read_all(accepted)[28:] == BLOCK[:200_000]

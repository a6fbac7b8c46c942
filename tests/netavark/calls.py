"""Calls of the plugin as netavark makes them, and what they look like."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from hostports import Client
from hostports.netavark.main import run

Json: TypeAlias = dict[str, Any]

NOWHERE: Final = Path("/nowhere/api.sock")

SUBNETS: list[Json] = [{"subnet": "10.90.0.0/24", "gateway": "10.90.0.1"}, {"subnet": "fd90::/64"}]
#: As Podman fills it in for `podman network create -d hostports lab`.
NETWORK: Json = {
    "name": "lab",
    "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
    "driver": "hostports",
    "created": "2026-11-24T09:00:00Z",
    "ipv6_enabled": False,
    "internal": False,
    "dns_enabled": True,
    "options": {},
    "ipam_options": {},
}


def port(host: int, container: int = 80, **more: object) -> Json:
    """A port mapping."""
    common = {"host_ip": "", "protocol": "tcp", "range": 1}
    return {"host_port": host, "container_port": container, **common, **more}


def container(
    network: Json, name: str, ips: Sequence[str], *ports: Json, **options: object
) -> Json:
    """A container's part of `setup` and `teardown`."""
    return {
        "container_id": (name.encode().hex() * 64)[:64],
        "container_name": name,
        "port_mappings": list(ports) or None,
        "network": network,
        "network_options": {
            "aliases": [name],
            "interface_name": "eth0",
            "static_ips": list(ips),
            "static_mac": None,
            **options,
        },
    }


def call(
    words: Sequence[str],
    given: object = None,
    socket: Path = NOWHERE,
    patience_s: float | None = None,
) -> tuple[int, Json | None]:
    """The exit status and what was said, with the daemon's socket."""
    text = given if isinstance(given, bytes) else json.dumps(given).encode()
    out = io.StringIO()
    status = run(words, io.BytesIO(text), out, Client(socket, patience_s=patience_s))
    return status, json.loads(out.getvalue()) if out.getvalue() else None

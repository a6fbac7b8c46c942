"""Hosts as the inspection found them, recorded from real firewalls in a namespace.

``python -m tests.e2e.record_firewalls`` makes them anew.
"""

import gzip
import json
from dataclasses import asdict, replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface
from pathlib import Path
from typing import Final

from hostports.core.doctor.findings import Record
from hostports.model.address import Family
from hostports.model.condition import Condition, SavedTables
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, Protocol, PublishMode, SocketAddress

FOLDER: Final = Path(__file__).parent / "recorded"
NETWORK: Final = BridgeNetwork("nat", bridge="hp-nat", subnet_ipv4=IPv4Network("10.90.0.0/24"))
ENDPOINT: Final = Endpoint("nat1", NETWORK, IPv4Address("10.90.0.2"))
#: Of the container's port 80: by NAT, and by the relay alone.
NAT: Final = PortBinding(
    "nat", "nat1", Protocol.TCP, ip_address("0.0.0.0"), 8080, IPv4Address("10.90.0.2"), 80
)
RELAY: Final = replace(NAT, host_port=8082, mode=PublishMode.RELAY)
RECORD: Final = Record([NETWORK], [ENDPOINT], [NAT, RELAY])


def names() -> list[str]:
    """What there is."""
    return sorted(each.name.removesuffix(".json.gz") for each in FOLDER.glob("*.json.gz"))


def save(name: str, condition: Condition) -> None:
    """Write a host's condition, the same bytes for the same condition."""
    text = json.dumps(asdict(condition), default=_plain, indent=1)
    (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def load(name: str) -> Condition:
    """A host's condition as it was."""
    found = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return Condition(
        nft=found["nft"],
        nft_text=found["nft_text"],
        saved=tuple(
            SavedTables(Family(each["family"]), each["command"], each["text"], each["legacy"])
            for each in found["saved"]
        ),
        settings=found["settings"],
        interfaces={
            name: tuple(map(ip_interface, some)) for name, some in found["interfaces"].items()
        },
        listening=frozenset(map(_socket, found["listening"])),
    )


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(f"{each.protocol.value} {each.port} {each.ip}" for each in value)
    return str(value)


def _socket(text: str) -> SocketAddress:
    protocol, port, ip = text.split()
    return SocketAddress(Protocol(protocol), ip_address(ip), int(port))

"""Random cases: the engine beside the model with all differences whose rules hold.

The recordings were made from a finite number of cases; here are more of their kind.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.judge import judge_modelled
from tests.conformance.kernels import tables
from tests.conformance.reference import Json
from tests.conformance.vectors import load

ENVIRONMENT = load(Path(__file__).parent / "vectors" / "port_mappings.json.gz")["environment"]
CASES = 2000

HOST_IPS = ["0.0.0.0", "::", "127.0.0.1", "192.0.2.10", "192.0.2.11", "::1", "fd00:10::2"]
ODD_HOST_IPS = ["::ffff:127.0.0.1", "203.0.113.9", "2001:db8::9"]
FAULTS = {
    "add": ["proxy_start", "fw_add_ports", "port_driver_add", "fw_del_ports", "proxy_stop"],
    "release": ["proxy_stop", "fw_del_ports", "port_driver_remove"],
}


class Generator:
    """Cases in the schema of the recordings, all of them from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same cases in every run
        self.seed = seed

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def case(self) -> Json:
        kinds = [None] * 8 + ["builtin"] * 3 + ["slirp4netns", "gvisor-tap-vsock", "none", "null"]
        names = [f"A{number}" for number in range(self.random.randint(1, 3))]
        steps = [self.occupy(number) for number in range(self.random.randint(0, 3))]
        steps += [self.add(name) for name in names]
        steps += [self.release(name) for name in names if self.chance(0.8)]
        if self.chance(0.3):
            steps.append(self.add("again"))
        return {
            "id": f"fuzz-{self.seed}",
            "host": {"ipv6": self.chance(0.85)},
            "daemon": {
                "userland_proxy_path": self.one("/proxy", "/proxy", ""),
                "rootlesskit": self.one(*kinds),
            },
            "daemon_error": None,
            "steps": steps,
        }

    def occupy(self, number: int) -> Json:
        proto = self.one("tcp", "tcp", "udp")
        return {
            "op": "occupy",
            "name": f"x{number}",
            "busy": {
                "name": f"x{number}",
                "proto": proto,
                "ip": self.one("0.0.0.0", "192.0.2.10"),
                # One other socket a port, so that it can always be had.
                "port": self.one(8080, 49200) + number,
                "listen": proto == "tcp",
                "reuseaddr": proto == "tcp",
                "v6only": False,
            },
        }

    def add(self, name: str) -> Json:
        modes = ("nat", "nat", "nat", "routed", "nat-unprotected", "")
        last = self.one(2, 3)
        return {
            "op": "add",
            "name": name,
            "network": {"gw_mode_ipv4": self.one(*modes), "gw_mode_ipv6": self.one(*modes)},
            "endpoint_ipv4": self.one(None, *[f"172.19.0.{last}/16"] * 4),
            "endpoint_ipv6": self.one(None, *[f"fdf8:b88e:bb5c:3483::{last}/64"] * 2),
            "default_host_ip": self.one(None, None, None, *HOST_IPS[:4], "::ffff:192.0.2.10"),
            "no_proxy_6to4": self.chance(0.15),
            "bindings": [self.binding() for _ in range(self.random.randint(0, 5))],
            "faults": self.faults("add", 0.25),
        }

    def binding(self) -> Json:
        host_port, host_port_end = self.one(
            (0, 0), (0, 0), (8080, 0), (8081, 8081), (8080, 8083), (8082, 8085), (49200, 49215)
        )
        if self.chance(0.02):
            host_port, host_port_end = self.one((0, 9), (9, 8), (65535, 65536))
        return {
            "proto": self.one(
                "tcp", "tcp", "tcp", "udp", "udp", "sctp", *["icmp"] * self.chance(0.1)
            ),
            "container_port": self.one(22, 53, 80, 81, 82),
            "container_ip": None,
            "host_ip": self.one(None, None, None, *HOST_IPS, *ODD_HOST_IPS * self.chance(0.2)),
            "host_port": host_port,
            "host_port_end": host_port_end,
        }

    def release(self, name: str) -> Json:
        return {"op": "release", "name": name, "faults": self.faults("release", 0.15)}

    def faults(self, op: str, share: float) -> dict[str, list[int]]:
        if not self.chance(share):
            return {}
        return {self.one(*FAULTS[op]): [self.one(1, 2, 3, 4, -1)]}


@pytest.mark.parametrize("block", range(4))
def test_the_engine_does_what_the_model_says(block: int) -> None:
    per_block = CASES // 4
    for seed in range(block * per_block, (block + 1) * per_block):
        case = Generator(seed).case()
        complaints = judge_modelled(case, ENVIRONMENT, tables)
        assert not complaints, (case, complaints)

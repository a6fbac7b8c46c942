"""Calls of the plugin in this process, and what it answers."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hostports.client.sync import PATIENCE_S
from hostports.cni.main import run

Json: TypeAlias = dict[str, Any]

#: What the bridge plugin says of a container with both families (CNI 1.0.0).
RESULT: Json = {
    "cniVersion": "1.1.0",
    "interfaces": [
        {"name": "cni0", "mac": "02:00:00:00:00:01"},
        {"name": "veth0", "mac": "02:00:00:00:00:02"},
        {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/web"},
    ],
    "ips": [
        {"interface": 2, "address": "10.88.0.2/16", "gateway": "10.88.0.1"},
        {"interface": 2, "address": "fd88::2/64"},
    ],
    "dns": {},
}
PORT: Json = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}


@dataclass(frozen=True)
class Said:
    """What the plugin printed, and its exit status."""

    status: int
    text: str

    @property
    def document(self) -> Json:
        """The result, or the error."""
        found: Json = json.loads(self.text)
        return found

    @property
    def code(self) -> int:
        """Of an error, which names the version and has words."""
        assert self.status == 1
        assert self.document["cniVersion"]
        assert self.document["msg"]
        return int(self.document["code"])

    @property
    def message(self) -> str:
        """What an error says."""
        return str(self.document["msg"])


def environment(verb: str, container: str = "c1", **more: str) -> Json:
    """What a runtime sets."""
    attached = {"CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/web"}
    common = {"CNI_COMMAND": verb, "CNI_PATH": "/opt/cni/bin"}
    return {**common, **({} if verb in ("GC", "STATUS", "VERSION") else attached), **more}


def configuration(socket: Path | str, *ports: Json, **more: object) -> Json:
    """A network's configuration as the plugin gets it."""
    runtime: Json = {"runtimeConfig": {"portMappings": list(ports)}} if ports else {}
    common = {"cniVersion": "1.1.0", "name": "podnet", "type": "hostports", "socket": str(socket)}
    return {**common, **runtime, **more}


def call(env: Mapping[str, str], config: Json | bytes, patience_s: float = PATIENCE_S) -> Said:
    """One call."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    out = io.StringIO()
    return Said(run(env, io.BytesIO(text), out, patience_s), out.getvalue())

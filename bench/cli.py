"""What a start of the command and the plugin costs, beside an interpreter with json and socket.

All take turns, and medians are compared: of the time until they end, and of the processor time of
the process alone. A server that answers at once stands for the daemon; ``version`` also runs
without one. The aim is a ratio of at most 2.
"""

import compileall
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple

from hostports.cni.names import Attachment
from tests.cli.samples import IPV4
from tests.client.server import FakeServer, answer, serving
from tests.cni.calls import PORT, RESULT, configuration, environment

ROUNDS = 41
SOURCE = Path(__file__).parents[1] / "src" / "hostports"
BOOT = Path("/proc/sys/kernel/random/boot_id")
BARE = "import json, socket"


class Cost(NamedTuple):
    """Seconds of one run: until it ended, and of the processor."""

    elapsed: float
    processor: float


class Start(NamedTuple):
    """A program to start, with more environment and an input."""

    words: list[str]
    environment: Mapping[str, str] = MappingProxyType({})
    given: Path = Path(os.devnull)


def cost(start: Start) -> Cost:
    """Run a program, its output being thrown away."""
    files = [(os.POSIX_SPAWN_OPEN, 0, str(start.given), os.O_RDONLY, 0)]
    files += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (1, 2)]
    environment = {**os.environ, **start.environment}
    begun = perf_counter()
    pid = os.posix_spawn(start.words[0], start.words, environment, file_actions=files)
    _, status, usage = os.wait4(pid, 0)
    elapsed = perf_counter() - begun
    if status:
        raise RuntimeError(f"{' '.join(start.words)} failed")
    return Cost(elapsed, usage.ru_utime + usage.ru_stime)


def commands(server: FakeServer) -> dict[str, Start]:
    """What is measured, by name."""
    for line in ("GET /v1/ports", "GET /v1/endpoints/web/ports", "POST /v1/endpoints/web/ports"):
        server.on(line, answer({"bindings": [IPV4]}))
    server.on("GET /v1/health", answer({"status": "ok", "version": "1"}))
    python, command = sys.executable, [sys.executable, "-m", "hostports"]
    asking = [*command, "--socket", str(server.path)]
    lines = {
        BARE: [python, "-c", BARE],
        "version, no daemon": [*command, "--socket", "/nowhere", "version"],
        "version": [*asking, "version"],
        "ls --json": [*asking, "ls", "--json"],
        "ls": [*asking, "ls"],
        "port web 80": [*asking, "port", "web", "80"],
        "publish web 8080:80": [*asking, "publish", "web", "8080:80"],
        "publish, a pool of ports": [*asking, "publish", "web", "8000-8010:80"],
        "import http.client": [python, "-c", f"{BARE}, http.client"],
    }
    return {**{name: Start(words) for name, words in lines.items()}, **_plugins(server)}


def _plugins(server: FakeServer) -> dict[str, Start]:
    """The plugins: without a question to the daemon, and with all that CNI's ADD asks."""
    name = Attachment("podnet", "c1", "eth0").endpoint("", BOOT.read_text().strip())
    endpoint = {"name": name, "network": "pods", "addresses": ["10.88.0.2"]}
    server.on("GET /v1/endpoints", answer({"endpoints": []}))
    server.on("GET /v1/networks", answer({"networks": [{"name": "pods", "bridge": "cni0"}]}))
    server.on("POST /v1/networks/pods/endpoints", answer(endpoint, 201))
    published = {"bindings": [IPV4], "warnings": []}
    server.on(f"POST /v1/endpoints/{name}/ports", answer(published, 201))
    given = server.path.with_name("given.json")
    given.write_text(json.dumps(configuration(server.path, PORT, prevResult=RESULT)))
    words = [str(Path(sys.executable).with_name("hostports-cni"))]
    netavark = str(Path(sys.executable).with_name("hostports-netavark"))
    return {
        **{
            f"hostports-cni, {verb}": Start(words, environment(verb), given)
            for verb in ("VERSION", "ADD")
        },
        "hostports-netavark info": Start([netavark, "info"]),
    }


def main() -> None:
    """Print a line for each command."""
    # What is installed has its byte code, a checkout may not, and PYTHONDONTWRITEBYTECODE forbids.
    compileall.compile_dir(str(SOURCE), quiet=1)
    with TemporaryDirectory(prefix="hp-") as directory, serving(Path(directory) / "s") as server:
        lines = commands(server)
        costs: dict[str, list[Cost]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for name, start in lines.items():
                costs[name].append(cost(start))
    medians = {name: Cost(*map(median, zip(*each, strict=True))) for name, each in costs.items()}
    bare = medians[BARE]
    print(f"{'':26}{'ms':>8}{'ratio':>8}{'ms of processor':>18}{'ratio':>8}")
    for name, each in medians.items():
        print(
            f"{name:26}{each.elapsed * 1e3:8.1f}{each.elapsed / bare.elapsed:8.2f}"
            f"{each.processor * 1e3:18.1f}{each.processor / bare.processor:8.2f}"
        )


if __name__ == "__main__":
    main()

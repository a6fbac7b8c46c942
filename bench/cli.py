"""What a start of the command costs, beside an interpreter that only imports json and socket.

All take turns, and medians are compared: of the time until they end, and of the processor time of
the process alone. A server that answers at once stands for the daemon; ``version`` also runs
without one. The aim is a ratio of at most 2.
"""

import compileall
import os
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from tests.cli.samples import IPV4
from tests.client.server import FakeServer, answer, serving

ROUNDS = 41
SOURCE = Path(__file__).parents[1] / "src" / "hostports"
BARE = "import json, socket"


class Cost(NamedTuple):
    """Seconds of one run: until it ended, and of the processor."""

    elapsed: float
    processor: float


def cost(words: list[str]) -> Cost:
    """Run a program, its output being thrown away."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
    start = perf_counter()
    pid = os.posix_spawn(words[0], words, os.environ, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    elapsed = perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(words)} failed")
    return Cost(elapsed, usage.ru_utime + usage.ru_stime)


def commands(server: FakeServer) -> dict[str, list[str]]:
    """What is measured, by name."""
    for line in ("GET /v1/ports", "GET /v1/endpoints/web/ports", "POST /v1/endpoints/web/ports"):
        server.on(line, answer({"bindings": [IPV4]}))
    server.on("GET /v1/health", answer({"status": "ok", "version": "1"}))
    python, command = sys.executable, [sys.executable, "-m", "hostports"]
    asking = [*command, "--socket", str(server.path)]
    return {
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


def main() -> None:
    """Print a line for each command."""
    # What is installed has its byte code, a checkout may not, and PYTHONDONTWRITEBYTECODE forbids.
    compileall.compile_dir(str(SOURCE), quiet=1)
    with TemporaryDirectory(prefix="hp-") as directory, serving(Path(directory) / "s") as server:
        lines = commands(server)
        costs: dict[str, list[Cost]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for name, words in lines.items():
                costs[name].append(cost(words))
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

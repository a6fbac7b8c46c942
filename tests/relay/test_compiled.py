"""The relay's modules, compiled and interpreted: which are used, and that both forms work."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostports.relay.compiled import INTERPRETED, MODULES, PACKAGE, build_folder, found
from tests.relay.lab import Lab
from tests.relay.proc import Process
from tests.relay.relays import RunningRelay, running_relay
from tests.relay.services import serving
from tests.relay.stress import stress

#: Tells how each module of the relay would be loaded by a relay process.
FORMS = f"""
from importlib.util import find_spec
from hostports.relay.compiled import use_compiled
use_compiled()
for name in {[*MODULES, "process"]}:
    print(name, find_spec("hostports.relay." + name).origin.rpartition(".")[2])
"""
needs_a_build = pytest.mark.skipif(not found(), reason="nothing is compiled: `make setup` says why")


@pytest.fixture
def interpreted(
    lab: Lab, control_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningRelay]:
    """A relay that leaves what is compiled alone."""
    monkeypatch.setenv(INTERPRETED, "yes")
    with running_relay(lab, control_path) as running:
        yield running


def compiled_files(process: Process) -> bool:
    return str(PACKAGE / build_folder()) in Path(f"/proc/{process.pid}/maps").read_text()


def forms(source: Path) -> dict[str, str]:
    """How a relay would load each module of a source tree: ``so`` or ``py``."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", FORMS]
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split() for line in said.stdout.splitlines())


@needs_a_build
def test_a_relay_runs_what_was_compiled(relay: RunningRelay) -> None:
    assert compiled_files(relay.process)


def test_interpreted_too_every_byte_is_accounted_for(interpreted: RunningRelay) -> None:
    assert not compiled_files(interpreted.process)
    with serving(interpreted) as web:
        assert stress(web, connections=60, seconds=3, seed=secrets.randbelow(1_000_000)) == []


@needs_a_build
@pytest.mark.parametrize("edited", ["relay/flow.py", "core/relay/half_close.py", "model/relay.py"])
def test_whoever_edits_a_source_runs_what_it_says_now(tmp_path: Path, edited: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "hostports")
    before = forms(tmp_path)
    with (tmp_path / "hostports" / edited).open("a") as source:
        source.write("#\n")
    assert before == {**dict.fromkeys(MODULES, "so"), "process": "py"}
    assert forms(tmp_path) == dict.fromkeys(before, "py")

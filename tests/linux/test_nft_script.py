"""What nft is told when whoever tells it is killed."""

import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

from tests.relay.waiting import PATIENCE_S, eventually

#: Not nft: it ends whoever has started it, and writes down what it was told.
KILLER = """#!/bin/sh
case "$1" in
    -f) kill -9 $PPID; cat > {told}; touch {told}.whole;;
esac
"""
TELLER = """
import sys
from hostports.linux.nftables import NftablesFirewall
from hostports.model.network import BridgeNetwork
networks = [BridgeNetwork(f"n{number}", bridge=f"b{number}") for number in range(1000)]
NftablesFirewall(wanted=networks, nft=sys.argv[1])
"""


def test_a_script_is_whole_though_we_were_killed_as_nft_began(tmp_path: Path) -> None:
    """Half of it is a ruleset, too: one without what came last."""
    program, told = tmp_path / "nft", tmp_path / "told"
    program.write_text(KILLER.format(told=told))
    program.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", TELLER, str(program)], check=False, timeout=60)
    assert done.returncode == -SIGKILL
    eventually(lambda: Path(f"{told}.whole").exists(), "all is read", PATIENCE_S)
    script = told.read_text()
    assert len(script) > 1 << 16  # more than a pipe takes at once
    assert script.endswith("\n")
    assert "b999" in script.splitlines()[-1]

"""The plugins, started by somebody who wonders what they are."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("word", ["-h", "--help"])
@pytest.mark.parametrize("plugin", ["cni", "netavark"])
def test_people_are_told_what_it_is_and_where_more_stands(plugin: str, word: str) -> None:
    code = f"import sys; from hostports.{plugin}.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, word], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    what, where = done.stdout.splitlines()
    assert what.startswith(f"hostports-{plugin}: ")
    assert f"docs/{plugin}.md" in where

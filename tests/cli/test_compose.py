"""Compose files, as people write them."""

import re
from pathlib import Path

import pytest

from hostports.cli.compose import specs_of
from hostports.errors import UnusableValue
from tests.cli.conftest import Cli
from tests.cli.samples import IPV4
from tests.client.server import FakeServer, answer

FILE = """
x-dns: &dns
  target: 53
  protocol: udp
services:
  web:
    image: nginx
    ports:
      - 80
      - 2222:22
      - "${WEB_PORT:-8080}:80"
      - target: 443
        published: "8443-8449"
        host_ip: 127.0.0.1
        mode: host
      - <<: *dns
        host_ip: ::1
"""
SPECS = ["80", "2222:22", "8080:80", "127.0.0.1:8443-8449:443/tcp", "[::1]::53/udp"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "compose.yaml"
    made.write_text(FILE)
    return str(made)


def test_a_service_is_published_as_its_file_says(file: str, cli: Cli, server: FakeServer) -> None:
    server.on("POST /v1/endpoints/web/ports", answer({"bindings": [IPV4]}))
    assert cli("publish", "--compose", file, "web").status == 0
    assert server.requests[-1].body["specs"] == SPECS


def test_an_endpoint_may_have_another_name_and_more_ports(
    file: str, cli: Cli, server: FakeServer
) -> None:
    server.on("POST /v1/endpoints/pod/ports", answer({"bindings": [IPV4]}))
    assert cli("publish", "pod", "90:90", "--compose", file, "--service", "web").status == 0
    assert server.requests[-1].body["specs"] == ["90:90", *SPECS]


def test_variables_are_the_environment_s_and_else_those_of_a_file_beside(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(file).parent / ".env"
    beside.write_text('# ports\nBASE=70\nexport WEB_PORT="${BASE}70"  # dynamic\nALONE\n')
    assert "7070:80" in specs_of(file, "web")
    monkeypatch.setenv("WEB_PORT", "9090")
    assert "9090:80" in specs_of(file, "web")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A=1\nweb port: 80\n", "'web port: 80' is no variable; write NAME=value"),
        (b"\xff", "it is no text in UTF-8; name another file"),
    ],
)
def test_a_broken_file_of_variables_is_refused(file: str, content: bytes, said: str) -> None:
    (Path(file).parent / ".env").write_bytes(content)
    with pytest.raises(UnusableValue, match=re.escape(said)):
        specs_of(file, "web")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["publish", "web"], "there is nothing to publish; give a SPEC, or --compose FILE"),
        (["plan", "web"], "there is nothing to publish; give a SPEC, or --compose FILE"),
        (["publish", "web", "80", "--service", "web"], "--service is a service of a compose file"),
        (["publish", "web", "--compose", "/nowhere.yaml"], "'/nowhere.yaml': it can't be read"),
    ],
)
def test_what_is_missing_is_said(words: list[str], said: str, cli: Cli) -> None:
    done = cli(*words)
    assert done.status == 2
    assert said in done.err


def test_a_tag_of_composes_is_refused_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web:\n    ports: !override ['8080:80']\n", encoding="utf-8")
    with pytest.raises(UnusableValue, match=r"tags aren't followed: .*!override.*docker compose"):
        specs_of(str(file), "web")


def test_a_file_that_is_no_yaml_is_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web: [\n")
    with pytest.raises(UnusableValue, match="line 3"):
        specs_of(str(file), "web")

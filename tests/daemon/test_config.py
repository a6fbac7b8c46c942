from ipaddress import ip_address
from pathlib import Path

import pytest

from hostports.daemon.config import Config, FirewallChoice, LogFormat, load
from hostports.errors import UnusableValue
from hostports.model.port import PortRange
from hostports.model.relay import RelaySettings

FILE = """
default_host_ip = "127.0.0.1"
dynamic_range = "50000-50999"
allow_direct_routing = true
log_format = "json"

[relay_settings]
connections = 5000
connect_timeout_s = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "hostports.toml"
    made.write_text(FILE)
    return made


def test_nothing_needs_to_be_chosen() -> None:
    assert load({}) == Config()
    assert Config().api_socket == Path("/run/hostports/api.sock")
    assert Config().state_file == Path("/var/lib/hostports/state.sqlite3")


def test_a_file_says_what_flags_do_not(file: Path) -> None:
    read = load({"config": str(file), "run": "/elsewhere"})
    assert read.run == Path("/elsewhere")
    assert read.default_host_ip == ip_address("127.0.0.1")
    assert read.dynamic_range == PortRange(50000, 50999)
    assert read.allow_direct_routing
    assert read.log_format is LogFormat.JSON
    assert read.relay_settings == RelaySettings(connections=5000, connect_timeout_s=5)


def test_flags_win_over_the_file(file: Path) -> None:
    read = load({"config": str(file), "default_host_ip": "::", "log_format": "text"})
    assert (read.default_host_ip, read.log_format) == (ip_address("::"), LogFormat.TEXT)


def test_the_relay_can_be_switched_off() -> None:
    assert not load({"no_relay": True}).relay
    assert load({"firewall": "none"}).firewall is FirewallChoice.NONE


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"default_host_ip": "localhost"}, "default_host_ip = localhost"),
        ({"dynamic_range": "50000"}, "dynamic_range = 50000"),
        ({"dynamic_range": "2-1"}, "2-1"),
        ({"firewall": "pf"}, "firewall = pf"),
        ({"colour": "red"}, "colour"),
        ({"relay_settings": {"colour": 1}}, "colour"),
        ({"relay_settings": {"connections": -1}}, "connections"),
        ({"relay_settings": {"connections": True}}, "connections"),
        ({"allow_direct_routing": "yes"}, "allow_direct_routing = yes"),
        ({"relay_settings": {"connections": float("inf")}}, "connections"),
        ({"config": "/nowhere/hostports.toml"}, "/nowhere/hostports.toml"),
    ],
)
def test_what_can_not_be_used_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(UnusableValue) as caught:
        load(flags)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_toml_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "hostports.toml"
    file.write_text("a = \n")
    with pytest.raises(UnusableValue, match=r"hostports.toml.*line 1"):
        load({"config": str(file)})

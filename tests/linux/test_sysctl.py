"""Kernel settings by the names that sysctl(8) has for them."""

import subprocess

import pytest

from hostports.core.rules.settings import of_interface
from hostports.linux import sysctl
from tests.netns.namespaces import namespace


@pytest.mark.parametrize("interface", ["lan0", "lan0.7"])
def test_a_setting_of_an_interface_is_the_same_that_sysctl_knows(interface: str) -> None:
    name = of_interface(interface, "forwarding")
    with namespace() as host, host.entered():
        for command in (f"ip link add {interface} type bridge", f"sysctl -qw {name}=1"):
            subprocess.run(["/bin/sh", "-ec", command], check=True)
        assert sysctl.read(name) == "1"
        assert sysctl.write({name: "0"}) == {name: "1"}
        assert sysctl.read(name) == "0"

"""Record hosts beside real firewalls: ``python -m tests.e2e.record_firewalls``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hostports.linux.inspection import LinuxInspection
from hostports.model.condition import OurFirewall
from tests.core.doctor.recordings import NAT, NETWORK, RELAY, save
from tests.e2e.firewalls import Firewalld, Ufw
from tests.e2e.site import Site, site
from tests.e2e.test_doctor import CASES, CLEAN, given, run

#: What to call those of `test_doctor`.
_NAMES: Final = {
    "nobody else": "nobody",
    "a last reject": "nftables",
    "Docker's": "docker",
    "iptables-legacy": "legacy",
}


def main() -> None:
    """Make all recordings anew."""
    with TemporaryDirectory() as folder, site(Path(folder) / "site") as made:
        made.client.create_network("nat", bridge=NETWORK.bridge, subnets=["10.90.0.0/24"])
        made.add_container("nat1")
        for binding in (NAT, RELAY):
            made.publish("nat1", f"{binding.host_port}:80", mode=binding.mode.value)
        for case, name in _NAMES.items():
            with given(made, CASES[case].commands):
                _record(made, name)
        with _ufw(made, Path(folder)):
            _record(made, "ufw")
        with Firewalld(made.lab.namespaces["host"], Path(folder) / "firewalld").running():
            _record(made, "firewalld")
        run(made, CLEAN)


@contextmanager
def _ufw(made: Site, folder: Path) -> Iterator[None]:
    ufw = Ufw(made.lab.namespaces["host"], folder)
    ufw("allow 22/tcp")
    ufw(f"deny {RELAY.host_port}/tcp")
    with ufw.enabled():
        yield
    run(made, CLEAN)


def _record(made: Site, name: str) -> None:
    with made.lab.namespaces["host"].entered():
        save(name, LinuxInspection(OurFirewall.NFTABLES).read())


if __name__ == "__main__":
    main()

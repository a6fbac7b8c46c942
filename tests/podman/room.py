"""Debian's Podman on the host of a site, set up as our documentation says.

It runs in a mount namespace of its own: over /usr lie the unpacked packages, over /etc, /opt, /run
and /var/lib what it writes. With that namespace all of it is gone.
"""

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.site import Site, host_probe
from tests.netns.namespaces import Namespace, nft
from tests.relay.waiting import PATIENCE_S, eventually

ROOT: Final = Path(__file__).parents[2]
VENV: Final = ROOT / ".venv"
IMAGE: Final = "web"
#: Debian's own, with busybox; `make test` unpacks it.
DEBIAN: Final = VENV / "podman"
#: Port 80 of any address, and TCP_LISTEN, in /proc/net/tcp6.
_LISTENING: Final = f"{'0' * 32}:0050 {'0' * 32}:0000 0A"
#: Names of busybox that containers start.
_APPLETS: Final = ("sh", "nc", "echo", "sleep")

#: Lays overlays, and a cgroup tree that crun knows where the machine has the hybrid one.
_FURNISH: Final = """
set -e
mount -t tmpfs tmpfs "$1/room"
for each in usr etc opt var/lib; do
    mkdir -p "$1/room/$each/new" "$1/room/$each/work"
    lower="/$each"
    [ ! -d "$2/$each" ] || lower="$2/$each:/$each"
    where="upperdir=$1/room/$each/new,workdir=$1/room/$each/work"
    mount -t overlay overlay -o "lowerdir=$lower,$where" "/$each"
done
[ ! -d /sys/fs/cgroup/unified ] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/hostports /etc/containers /etc/cni/net.d
mount --bind "$1/run" /run/hostports
cp "$1/containers.conf" "$1/policy.json" /etc/containers
[ ! -e "$1/podman.conflist" ] || cp "$1/podman.conflist" /etc/cni/net.d/87-podman-bridge.conflist
PATH="$3:$PATH" sh -eu "$1/install.sh"
echo ready
exec sleep infinity
"""
_ASK: Final = """
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr && podman --version
"""
#: What a machine may lack that containers get else: cgroups, and limits beyond its own.
_LIMITED: Final = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
seccomp_profile = "unconfined"
"""
_LOCAL: Final = """
events_logger = "none"
cgroup_manager = "cgroupfs"
"""


@dataclass(frozen=True)
class SetUp:
    """Which Podman, and the page of our documentation by which it is set up.

    A reader does what the first block of each language says: shell, TOML, and JSON if there is one.
    """

    packages: Path
    page: Path
    #: The first version, if any, that can't do what the page says.
    below: int = sys.maxsize

    def obstacle(self) -> str:
        """Why this Podman can't be run here; empty if it can."""
        if not (self.packages / "usr" / "bin" / "podman").exists():
            return "Podman is not there; `make test` unpacks it where it can be had"
        words = ["unshare", "--mount", "sh", "-c", _ASK, "sh", self.packages]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        if done.returncode:
            return f"Podman needs overlays in a mount namespace of its own: {done.stderr.strip()}"
        (major,) = re.findall(r"version (\d+)\.", done.stdout)
        return f"{done.stdout.strip()} has no CNI any more" if int(major) >= self.below else ""

    def block(self, language: str) -> str:
        """The first block of a language, as a reader would copy it; empty without one."""
        found = re.search(rf"^ *```{language}\n(.*?)^ *```", self.page.read_text(), re.M | re.S)
        return re.sub(r"^   ", "", found[1], flags=re.M) if found else ""


class PodmanFailed(Exception):
    """Podman's last words."""


class Podman:
    """Podman in the mount namespace that process `room` holds."""

    def __init__(self, made: Site, room: int) -> None:
        self.site = made
        self.entering = ["nsenter", f"--mount=/proc/{room}/ns/mnt", "--"]

    def __call__(self, *words: str) -> str:
        """What a command says. Raises `PodmanFailed`."""
        with self.site.lab.namespaces["host"].entered():
            done = subprocess.run(
                [*self.entering, "podman", "--storage-driver", "vfs", *words],
                capture_output=True,
                text=True,
                timeout=3 * PATIENCE_S,
                check=False,
            )
        if done.returncode:
            raise PodmanFailed(done.stderr.strip())
        return done.stdout.strip()

    def run(self, name: str, *ports: str, network: str = "podman") -> None:
        """Start a container that serves its name on TCP port 80, and wait until it does."""
        published = [word for each in ports for word in ("-p", each)]
        serve = ("nc", "-ll", "-p", "80", "-e", "echo", name)
        self("run", "-d", "--name", name, "--network", network, *published, IMAGE, *serve)
        self.wait_until_serving(name)

    def wait_until_serving(self, name: str) -> None:
        """Wait until a container that was started listens: Podman doesn't."""
        sockets = Path(f"/proc/{self._pid(name)}/net/tcp6")
        eventually(lambda: _LISTENING in sockets.read_text(), f"{name} listens")

    def namespace(self, name: str) -> Namespace:
        """A container's network namespace."""
        return Namespace(f"/proc/{self._pid(name)}/ns/net")

    def _pid(self, name: str) -> str:
        return self("inspect", "-f", "{{.State.Pid}}", name)

    def addresses(self, name: str, network: str = "podman") -> list[str]:
        """A container's addresses."""
        found = json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"][network]
        return [found["IPAddress"], found["GlobalIPv6Address"]]


def remote(pods: Podman, port: int, protocol: str = "tcp") -> list[str]:
    """Who answers another host, by IPv4 and IPv6."""
    probes = [host_probe("remote", port, version=of, protocol=protocol) for of in (4, 6)]
    return [each.strip() for each in pods.site.answers(*probes)]


@contextmanager
def podman(made: Site, folder: Path, setup: SetUp) -> Iterator[Podman]:
    """Podman with an image of busybox; in the end its containers are gone."""
    _write_configuration(folder, setup)
    (folder / "room").mkdir()
    where = [folder, setup.packages, VENV / "bin"]
    words = ["unshare", "--mount", "sh", "-c", _FURNISH, "sh", *where]
    with made.lab.namespaces["host"].entered():
        room = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
    assert room.stdout
    try:
        assert room.stdout.readline() == "ready\n"
        ready = Podman(made, room.pid)
        ready("import", str(_image(folder)), IMAGE)
        try:
            yield ready
        finally:
            ready("rm", "--all", "--force", "--time", "0")
            _remove_tables(made)
    finally:
        room.kill()
        room.wait()
        room.stdout.close()


def _remove_tables(made: Site) -> None:
    """CNI's bridge and firewall plugins leave chains of theirs behind."""
    with made.lab.namespaces["host"].entered():
        for line in nft("list", "tables").splitlines():
            if line != "table inet hostports":
                nft("delete", *line.split())


def _write_configuration(folder: Path, setup: SetUp) -> None:
    written = setup.block("toml").replace("[engine]", f"[engine]{_LOCAL}")
    (folder / "containers.conf").write_text(_LIMITED + written)
    (folder / "install.sh").write_text(setup.block("sh"))
    if plugins := setup.block("json"):
        (folder / "podman.conflist").write_text(plugins)
    policy = {"default": [{"type": "insecureAcceptAnything"}]}
    (folder / "policy.json").write_text(json.dumps(policy))


def _image(folder: Path) -> Path:
    """A root file system with busybox, and names for what containers start."""
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(DEBIAN / "bin" / "busybox", "bin/busybox")
        for name in _APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return path

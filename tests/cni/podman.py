"""Debian's Podman on the host of a site, with its CNI backend, as docs/cni.md sets it up.

It runs in a mount namespace of its own: over /usr lie the unpacked packages, over /etc, /opt, /run
and /var/lib what it writes. With that namespace all of it is gone.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cni.runtime import ROOT
from tests.e2e.site import Site
from tests.netns.namespaces import Namespace, nft
from tests.relay.waiting import PATIENCE_S

PACKAGES: Final = ROOT / "podman"
DOCUMENTED: Final = Path(__file__).parents[2] / "docs" / "cni.md"
IMAGE: Final = "web"

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
mkdir -p /run/hostports /opt/cni/bin /etc/containers /etc/cni/net.d
mount --bind "$1/run" /run/hostports
ln -s "$3/bin/hostports-cni" /opt/cni/bin/hostports
cp "$1/containers.conf" "$1/policy.json" /etc/containers
cp "$1/podman.conflist" /etc/cni/net.d/87-podman-bridge.conflist
echo ready
exec sleep infinity
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


class PodmanFailed(Exception):
    """Podman's last words."""


class Podman:
    """Podman in the mount namespace that process `room` holds."""

    def __init__(self, made: Site, room: int) -> None:
        self.site = made
        self._room = room

    def __call__(self, *words: str) -> str:
        """What a command says. Raises `PodmanFailed`."""
        enter = ["nsenter", f"--mount=/proc/{self._room}/ns/mnt", "--"]
        with self.site.lab.namespaces["host"].entered():
            done = subprocess.run(
                [*enter, "podman", "--storage-driver", "vfs", *words],
                capture_output=True,
                text=True,
                timeout=3 * PATIENCE_S,
                check=False,
            )
        if done.returncode:
            raise PodmanFailed(done.stderr.strip())
        return done.stdout.strip()

    def run(self, name: str, *ports: str) -> None:
        """Start a container that serves its name on TCP port 80."""
        published = [word for each in ports for word in ("-p", each)]
        serve = ("nc", "-ll", "-p", "80", "-e", "echo", name)
        self("run", "-d", "--name", name, *published, IMAGE, *serve)

    def namespace(self, name: str) -> Namespace:
        """A container's network namespace."""
        return Namespace(f"/proc/{self('inspect', '-f', '{{.State.Pid}}', name)}/ns/net")

    def addresses(self, name: str) -> list[str]:
        """A container's addresses."""
        network = json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"]["podman"]
        return [network["IPAddress"], network["GlobalIPv6Address"]]


def documented(language: str) -> str:
    """The first block of a language in the documentation, as a reader would copy it."""
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", DOCUMENTED.read_text(), re.M | re.S)
    assert found
    return re.sub(r"^   ", "", found[1], flags=re.M)


@contextmanager
def podman(made: Site, folder: Path) -> Iterator[Podman]:
    """Podman with an image of busybox; in the end its containers are gone."""
    _write_configuration(folder)
    (folder / "room").mkdir()
    words = ["unshare", "--mount", "sh", "-c", _FURNISH, "sh", folder, PACKAGES, ROOT]
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


def _write_configuration(folder: Path) -> None:
    written = documented("toml").replace("[engine]", f"[engine]{_LOCAL}")
    (folder / "containers.conf").write_text(_LIMITED + written)
    (folder / "podman.conflist").write_text(documented("json"))
    policy = {"default": [{"type": "insecureAcceptAnything"}]}
    (folder / "policy.json").write_text(json.dumps(policy))


def _image(folder: Path) -> Path:
    """A root file system with busybox, and names for what containers start."""
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(PACKAGES / "bin" / "busybox", "bin/busybox")
        for name in _applets():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return path


def _applets() -> Sequence[str]:
    return ("sh", "nc", "echo", "sleep")

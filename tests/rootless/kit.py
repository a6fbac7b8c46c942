"""RootlessKit as an unprivileged user starts it, in a network namespace of a test.

What Debian has for it is unpacked, not installed; what it wants of the host, ranges of user ids and
the device of tap interfaces, is there in a mount namespace only.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest

from tests.netns.namespaces import Namespace
from tests.relay.waiting import eventually

PROJECT: Final = Path(__file__).parents[2]
#: Debian packages that `make test` unpacks.
UNPACKED: Final = PROJECT / ".venv/rootlesskit"
#: An unprivileged user that every Debian has.
USER: Final = "nobody"
#: Ours, where its user finds it, too.
PYTHON: Final = f"/mnt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
#: As user, with the unpacked programs; the test's folder is the home.
_ENVIRONMENT: Final = {
    "HOME": "/mnt/home",
    "PATH": "/mnt/kit/usr/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LD_LIBRARY_PATH": f"/mnt/python/lib:/mnt/kit/usr/lib/{sysconfig.get_config_var('MULTIARCH')}",
    "PYTHONPATH": "/mnt/project/src:/mnt/packages",
}
_AS_USER: Final = ("setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups")
_MOUNTS: Final = f"""
mount -t tmpfs none /mnt
mkdir /mnt/home /mnt/kit /mnt/packages /mnt/project /mnt/python
mount --bind "$1" /mnt/home
mount --bind {UNPACKED} /mnt/kit
mount --bind {PROJECT} /mnt/project
mount --bind {sysconfig.get_path("purelib")} /mnt/packages
mount --bind {sys.base_prefix} /mnt/python
mount -t tmpfs none /dev/net
mknod -m 666 /dev/net/tun c 10 200
echo {USER}:200000:65536 > /mnt/subids
mount --bind /mnt/subids /etc/subuid
mount --bind /mnt/subids /etc/subgid
shift
exec "$@"
"""


class Kit:
    """A RootlessKit that runs; `folder` is its user's home."""

    def __init__(self, parent: Namespace, folder: Path) -> None:
        self.parent = parent
        self.folder = folder
        self.state = folder / "state"

    @property
    def api(self) -> Path:
        """Where its API is."""
        return self.state / "api.sock"

    def child(self) -> str:
        """The pid of its child, which is in its namespaces; empty before it tells."""
        file = self.state / "child_pid"
        return file.read_text() if file.exists() else ""

    def start(self, *command: str, log: IO[str] | int = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start a program inside, as its user would from a shell outside."""
        enter = (
            "nsenter",
            f"--target={self.child()}",
            *["-U", "-m", "-n", "-p", "--preserve-credentials"],
        )
        kit = "ROOTLESSKIT_STATE_DIR=/mnt/home/state"
        return subprocess.Popen(
            [*_AS_USER, *enter, "env", kit, *command],
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def lacking() -> str:
    """What keeps RootlessKit from running on this machine; empty if nothing does."""
    if Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        return "this kernel allows no user namespaces: user.max_user_namespaces is 0"
    if not Path("/dev/net/tun").exists():
        return "this machine has no /dev/net/tun, by which slirp4netns makes its interface"
    return ""


@contextmanager
def rootlesskit(parent: Namespace, folder: Path, *flags: str) -> Iterator[Kit]:
    """A RootlessKit for a `with` block; with it ends all that runs inside."""
    if reason := lacking():
        pytest.skip(reason)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    kit = Kit(parent, folder)
    isolating = ("--state-dir=/mnt/home/state", "--pidns", "--copy-up=/etc", "--net=slirp4netns")
    waiting = ("sh", "-c", "echo ready; exec cat")
    command = [*_AS_USER, "rootlesskit", *isolating, "--disable-host-loopback", *flags, *waiting]
    with (folder.parent / "rootlesskit.log").open("w+") as log:
        with parent.entered():
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-euc", _MOUNTS, "sh", str(folder), *command],  # noqa: S607
                env=_ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        # Whose end closes its standard input, for which the program inside waits.
        with process:
            assert process.stdout
            said = process.stdout.readline()
            assert said == "ready\n", Path(log.name).read_text()
            eventually(kit.child, "RootlessKit tells its child's pid")
            yield kit

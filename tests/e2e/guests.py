"""Guests with a network of their own: a virtual machine of QEMU, a container of systemd-nspawn.

Both run one program, busybox: it sets up the guest's address and serves a page over HTTP.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copy
from typing import Final

from tests.netns.namespaces import Namespace
from tests.relay.waiting import PATIENCE_S, eventually

#: Debian packages that `make test` unpacks.
UNPACKED: Final = Path(__file__).parents[2] / ".venv/guests"
QEMU: Final = UNPACKED / "usr/bin/qemu-system-x86_64"
BUSYBOX: Final = UNPACKED / "bin/busybox"
_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
SYSTEMD_LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu/systemd", "usr/lib/x86_64-linux-gnu")
#: What Debian's kernel needs for a network card of QEMU's, in the order in which it is loaded.
_MODULES: Final = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net"),
)
_MACHINE: Final = (
    *("-accel", "tcg", "-m", "128", "-nographic", "-no-reboot"),
    *("-L", str(UNPACKED / "usr/share/seabios"), "-L", str(UNPACKED / "usr/share/qemu")),
    *("-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no"),
    *("-device", "virtio-net-pci,netdev=net0,romfile="),
)


def boots(address: str, gateway: str, interface: str) -> str:
    """What a guest does first: it takes an IPv4 address, as ``10.90.0.9/24``, and serves a page."""
    return f"""#!/bin/busybox sh
for module in /modules/*.ko; do [ -e $module ] && /bin/busybox insmod $module; done
/bin/busybox ip link set {interface} up
/bin/busybox ip address add {address} dev {interface}
/bin/busybox ip route add default via {gateway}
echo booted
exec /bin/busybox httpd -f -p 80 -h /www
"""


@contextmanager
def virtual_machine(host: Namespace, folder: Path, page: str, init: str) -> Iterator[None]:
    """A machine of QEMU's on the host's ``tap0``; it runs when the block begins."""
    root = _root(folder, page, init)
    (root / "modules").mkdir()
    (modules,) = (UNPACKED / "lib/modules").iterdir()
    for number, name in enumerate(_MODULES):
        (found,) = modules.rglob(f"{name}.ko")
        copy(found, root / f"modules/{number}.ko")
    image = folder / "initrd"
    script = f"find . | {BUSYBOX} cpio -o -H newc > {image}"
    subprocess.run(["/bin/sh", "-c", script], cwd=root, check=True, capture_output=True)
    (kernel,) = (UNPACKED / "boot").glob("vmlinuz-*")
    start = ["-kernel", str(kernel), "-initrd", str(image), "-append", "console=ttyS0 quiet"]
    with running(host, folder, [str(QEMU), *_MACHINE, *start], _LIBRARIES):
        yield


@contextmanager
def nspawn_container(host: Namespace, folder: Path, page: str, init: str) -> Iterator[None]:
    """A container of systemd-nspawn's on a bridge; it runs when the block begins."""
    root = _root(folder, page, init)
    (root / "etc/os-release").touch()
    command = nspawn("-D", str(root), "--network-bridge=hp-nat", "/init")
    with running(host, folder, command, SYSTEMD_LIBRARIES):
        yield


def nspawn(*arguments: str) -> list[str]:
    """A command that becomes systemd-nspawn.

    What that keeps in /run, and the control groups that it wants, are in a mount namespace.
    """
    mounts = "mount -t tmpfs none /run; mount -t cgroup2 none /sys/fs/cgroup"
    program = [str(UNPACKED / "usr/bin/systemd-nspawn"), "--register=no", "--keep-unit"]
    return ["unshare", "--mount", "sh", "-c", f'{mounts}; exec "$@"', "sh", *program, *arguments]


def _root(folder: Path, page: str, init: str) -> Path:
    """The guest's root directory."""
    root = folder / "guest"
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "www"):
        (root / name).mkdir(parents=True)
    copy(BUSYBOX, root / "bin/busybox")
    (root / "www/index.html").write_text(page)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    return root


@contextmanager
def running(
    host: Namespace,
    folder: Path,
    command: Sequence[str],
    libraries: Sequence[str],
    until: bytes = b"booted",
) -> Iterator["subprocess.Popen[bytes]"]:
    """A guest's process in a block that begins when its console says a word."""
    where = ":".join(str(UNPACKED / each) for each in libraries)
    said = folder / "console"
    with host.entered(), said.open("wb") as console:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": where},
        )
    try:
        eventually(lambda: until in said.read_bytes() or process.poll() is not None, "booted", 120)
        assert process.poll() is None, said.read_text(errors="replace")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)

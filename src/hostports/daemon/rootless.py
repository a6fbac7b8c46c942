"""The daemon inside RootlessKit: who forwards ports to it."""

import logging
from typing import Final

from hostports.daemon.config import Config, Rootless
from hostports.daemon.places import rootlesskit, run_folder
from hostports.errors import UnusableValue
from hostports.rootless.kit import RootlessKit

log: Final = logging.getLogger("hostports")


def port_driver(config: Config) -> RootlessKit | None:
    """RootlessKit, if we are inside it, it is to be used, and it forwards ports when asked.

    Raises `PortDriverFailed`, or `UnusableValue` for what can't work.
    """
    folder = rootlesskit()
    if folder is None or config.rootless is Rootless.OFF:
        return None
    kit = RootlessKit(folder / "api.sock", run_folder() / "forwardings")
    info = kit.info()
    log.info("inside RootlessKit, whose port driver is %r", info.name or "none")
    if not info.forwards:
        if info.name != "implicit":
            log.warning("it forwards no ports: start it with --port-driver=builtin")
        return None
    if not config.relay and not info.disallows_loopback_child_ip:
        raise UnusableValue(
            "--no-relay",
            f"port driver {info.name!r} leads to loopback, which only the relay serves",
            "leave the relay on, or start RootlessKit with --port-driver=slirp4netns",
        )
    return kit

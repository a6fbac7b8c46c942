"""RootlessKit's words for what we have types for (its pkg/api/openapi.yaml)."""

from ipaddress import ip_address
from typing import Any, Final

from hostports.client.http import Json
from hostports.errors import (
    HostportsError,
    NotPermitted,
    PortDriverConflict,
    PortDriverFailed,
    UnusableValue,
)
from hostports.model.host import PortDriverInfo
from hostports.model.port import Protocol, SocketAddress

#: What drivers say of a port that somebody else has: the kernel's words, RootlessKit's own, those
#: of gvisor-tap-vsock.
_TAKEN: Final = ("address already in use", "conflict with ID", "proxy already running")
#: libslirp's answer to whatever bind(2) refuses.
_UNEXPLAINED: Final = "slirp_add_hostfwd failed"
#: Drivers that open a connection of their own to the child, so that no client's address is left.
#: (builtin of version 3 keeps it where it can, and doesn't say where: that is no base for trust.)
_HIDING: Final = ("builtin", "gvisor-tap-vsock")


def info_of(said: Json) -> PortDriverInfo:
    """The port driver that ``GET /v1/info`` tells of; one without a name if there is none.

    Raises `ValueError` or `TypeError` for what makes no sense, and `UnusableValue`.
    """
    driver: Json = said.get("portDriver") or {}
    network: Json = said.get("networkDriver") or {}
    name = str(driver.get("driver") or "")
    child_ip = network.get("childIP")
    return PortDriverInfo(
        name,
        frozenset(map(str, driver.get("protos") or ())),
        bool(driver.get("disallowLoopbackChildIP")),
        ip_address(child_ip) if child_ip else None,
        str(network.get("driver") or ""),
        hides_clients=name in _HIDING,
    )


def spec_of(parent: SocketAddress, child: SocketAddress) -> Json:
    """A forwarding as it is asked for; with its family, or IPv4 would bring IPv6 with it."""
    return {
        "proto": f"{parent.protocol.value}{parent.ip.version}",
        "parentIP": str(parent.ip),
        "parentPort": parent.port,
        "childIP": str(child.ip),
        "childPort": child.port,
    }


def forwarding_of(listed: Any) -> tuple[SocketAddress, SocketAddress, int] | None:  # noqa: ANN401 - JSON
    """Parent, child and number of a listed forwarding; None for one that isn't like ours."""
    try:
        number, spec = int(listed["id"]), listed["spec"]
        protocol = Protocol(spec["proto"].rstrip("46"))
        parent = SocketAddress(protocol, ip_address(spec["parentIP"]), int(spec["parentPort"]))
        child = SocketAddress(protocol, ip_address(spec["childIP"]), int(spec["childPort"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return (parent, child, number) if spec["proto"][-1] == str(parent.ip.version) else None


def refusal(parent: SocketAddress, driver: str, message: str) -> HostportsError:
    """What a refusal to forward a port means, and what helps."""
    if any(words in message for words in _TAKEN):
        return PortDriverConflict(
            f"{parent} is taken outside RootlessKit ({message})",
            "publish another port, or stop who has it: see `ss -lptn` there and "
            "`rootlessctl list-ports`",
        )
    if _UNEXPLAINED in message:
        return PortDriverConflict(
            f"{parent} can't be had outside RootlessKit; port driver {driver!r} doesn't say why",
            "the port may be taken, or below net.ipv4.ip_unprivileged_port_start, or the host has "
            "no such address",
        )
    if "permission denied" in message:
        return NotPermitted(
            f"{parent}: RootlessKit may not use this port outside",
            f"publish a higher one, or let everybody use it: "
            f"sysctl net.ipv4.ip_unprivileged_port_start={parent.port}",
        )
    if "cannot assign requested address" in message:
        return UnusableValue(
            str(parent),
            "outside RootlessKit no interface has that address",
            "publish on one of `ip addr` there, or leave the host address out",
        )
    return PortDriverFailed(f"RootlessKit's port driver {driver!r} refuses {parent}: {message}")

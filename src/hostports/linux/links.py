"""Bridges and virtual cables, by netlink."""

import errno
import os
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from hostports.core.networks import cable_name, hardware_address
from hostports.errors import LinkFailed, LinkTaken
from hostports.linux.host_links import read_links
from hostports.linux.namespaces import is_own, namespace_path, open_namespace, with_netlink
from hostports.linux.netlink import (
    IFF_UP,
    add_addresses,
    delete,
    find,
    index_of,
    kind,
    remove,
    set_ipv6,
    set_up,
    translated,
    wait_until_reached,
    wait_until_sending,
    without_those_of,
)
from hostports.linux.wiring import INSIDE, in_subnets, rewire, wire
from hostports.model.address import Family
from hostports.model.links import HostLinks
from hostports.model.network import BridgeNetwork, Endpoint

T = TypeVar("T")

#: A port where nobody listens (RFC 863).
_DISCARD: Final = 9

#: The mends for what the kernel may say to a step.
_MAKING_BRIDGE: Final = {
    errno.EEXIST: "choose another --bridge, or use it with --existing-bridge",
    errno.EOPNOTSUPP: "load the kernel module bridge",
}
_MAKING_CABLE: Final = {errno.EOPNOTSUPP: "load the kernel module veth"}
#: What may be said where a namespace has gone.
_GONE: Final = (errno.ENOENT, errno.EINVAL)


class LinuxLinks:
    """`Links` of the network namespace that the calling thread is in.

    With `hairpin` a bridge sends back by a port what came in there: without a relay, an endpoint
    reaches its own published port only so.
    """

    def __init__(self, *, hairpin: bool = False) -> None:
        self._hairpin = hairpin

    def read(self) -> HostLinks:
        """All interfaces, and the routes of the main table."""
        return _asked(read_links)

    def namespace(self, text: str) -> str:
        """The file of a namespace by path, or by name."""
        return namespace_path(text)

    def add_bridge(self, network: BridgeNetwork) -> None:
        """Make a bridge whose addresses work at once, or see whether the existing one is there."""
        _asked(partial(_seen_bridge if network.existing else _make_bridge, network=network))

    def restore_bridge(self, network: BridgeNetwork) -> bool:
        """Make our bridge again where it is missing, or what it lacks: being up, addresses."""
        return not network.existing and _asked(partial(_restore_bridge, network=network))

    def remove_bridge(self, network: BridgeNetwork) -> None:
        """Remove our bridge; what else has its name isn't ours."""
        if not network.existing:
            _asked(partial(_remove_bridge, name=network.bridge))

    def attach(self, endpoint: Endpoint) -> None:
        """Lay a cable from the bridge into the namespace, and wait until packets pass."""
        if endpoint.namespace:
            with _opened(endpoint) as namespace:
                _refuse_own(endpoint, namespace)
                work = partial(_attach, endpoint=endpoint, namespace=namespace)
                _asked(partial(work, hairpin=self._hairpin))

    def plug_in(self, endpoint: Endpoint) -> bool:
        """Set the bridge of a cable that is up and has none, and whether its port sends back."""
        if not endpoint.namespace:
            return False
        with _opened(endpoint) as namespace:
            work = partial(_plug_in, endpoint=endpoint, namespace=namespace)
            return _asked(partial(work, hairpin=self._hairpin))

    def detach(self, endpoint: Endpoint) -> None:
        """Remove the host's end of the cable; the other one goes with it."""
        if endpoint.namespace:
            _asked(partial(remove, name=cable_name(endpoint), of_kind="veth"))

    def restore_inside(self, endpoint: Endpoint) -> bool:
        """Give an endpoint's ``eth0`` what it lacks."""
        if not endpoint.namespace:
            return False
        with _opened(endpoint) as namespace:
            return _asked(partial(_restore_inside, endpoint=endpoint, namespace=namespace))

    def attached(self, endpoint: Endpoint) -> bool:
        """Whether the cable leads from the bridge into the namespace; never without one.

        One whose port sends back although it shouldn't, or the other way round, is to plug in.
        """
        if not endpoint.namespace:
            return False
        with ExitStack() as stack:
            try:
                namespace = stack.enter_context(_opened(endpoint))
            except LinkFailed:
                return False
            work = partial(_is_attached, endpoint=endpoint, namespace=namespace)
            return _asked(partial(work, hairpin=self._hairpin))


def _asked(work: Callable[[IPRoute], T]) -> T:
    with translated("the kernel can't be asked about interfaces"):
        return with_netlink(work)


def _seen_bridge(links: IPRoute, network: BridgeNetwork) -> ifinfmsg:
    """A network's bridge; raises `LinkFailed` where it is gone, or is none."""
    what = f"{_word(network)} {network.bridge!r} of network {network.name!r}"
    found = find(links, network.bridge)
    if found is None:
        mend = "make it" if network.existing else "remove the network and create it anew"
        raise LinkFailed(f"{what} is not there", mend)
    if kind(found) != "bridge" and not network.ports_only:
        raise LinkFailed(f"{what} is an interface of another kind", "use one that is a bridge")
    return found


def _word(network: BridgeNetwork) -> str:
    return "interface" if network.ports_only else "bridge"


def _make_bridge(links: IPRoute, network: BridgeNetwork) -> None:
    """Make a bridge under another name, and give it its own when it is complete.

    So a bridge of that name is never half of one, not even after a kill: the name and the state
    come by one message.
    """
    name, draft = network.bridge, _draft_name(network.bridge)
    _refuse_taken(links, name)
    remove(links, draft, "bridge")
    addresses = list(in_subnets(network, network.gateway))
    with ExitStack() as undo:
        with translated(f"bridge {name!r} can't be made", _MAKING_BRIDGE):
            # Without a hardware address of its own it has that of a port, another one as ports go.
            links.link("add", ifname=draft, kind="bridge", address=_random_hardware_address())
        index = index_of(links, draft)
        undo.callback(delete, links, index, name)
        _set_bridge(draft, network)
        add_addresses(links, draft, addresses)
        with translated(f"bridge {name!r} can't be set up", _MAKING_BRIDGE):
            links.link("set", index=index, ifname=name, state="up")
        wait_until_reached(links, name, addresses)
        undo.pop_all()


def _restore_bridge(links: IPRoute, network: BridgeNetwork) -> bool:
    name = network.bridge
    found = find(links, name)
    if found is None:
        _make_bridge(links, network)
        return True
    wanted = in_subnets(network, network.gateway)
    missing = without_those_of(links, found["index"], wanted)
    if not missing and found["flags"] & IFF_UP:
        return False
    _set_bridge(name, network)
    add_addresses(links, name, missing)
    set_up(links, name)
    wait_until_reached(links, name, missing)
    return True


def _remove_bridge(links: IPRoute, name: str) -> None:
    for each in (_draft_name(name), name):
        remove(links, each, "bridge")


def _draft_name(bridge: str) -> str:
    """What a bridge is called until it is complete."""
    return f"hpd-{zlib.crc32(bridge.encode()):08x}"


def _refuse_taken(links: IPRoute, name: str) -> None:
    if find(links, name) is not None:
        raise LinkTaken(
            f"bridge {name!r} can't be made: an interface of that name is there",
            _MAKING_BRIDGE[errno.EEXIST],
        )


def _set_bridge(name: str, network: BridgeNetwork) -> None:
    """No endpoint may tell the host routes (CVE-2020-13401).

    Without an address on the bridge the host has no link-local one there either: what endpoints of
    an isolated network do is not its business (moby 28.5).
    """
    without = network.gateway(Family.IPV6) is None
    set_ipv6(name, accept_ra="0", disable_ipv6=str(int(without)))


def _attach(links: IPRoute, endpoint: Endpoint, namespace: int, *, hairpin: bool) -> None:
    """The host's end of the cable is set up last: one that is down is not attached."""
    network, cable = endpoint.network, cable_name(endpoint)
    bridge = _seen_bridge(links, network)
    _remove_loose(links, cable)
    _make_cable(links, endpoint, bridge, namespace)
    with ExitStack() as undo:
        undo.callback(remove, links, cable, "veth")
        if hairpin:
            with translated(f"hairpin mode of {cable!r} can't be set"):
                links.brport("set", index=index_of(links, cable), mode=1)
        with_netlink(partial(wire, endpoint=endpoint), namespace)
        set_up(links, cable)
        wait_until_sending(links, cable)
        with_netlink(partial(wait_until_sending, name=INSIDE), namespace)
        if bridge["flags"] & IFF_UP and not network.existing:
            # It has begun to send with its first port.
            wait_until_sending(links, network.bridge)
        undo.pop_all()


def _remove_loose(links: IPRoute, cable: str) -> None:
    """Remove what an attempt that was killed, or a bridge that is gone, has left of a cable."""
    found = find(links, cable)
    if found is not None and not _plugged(found):
        remove(links, cable, "veth")


def _plugged(cable: ifinfmsg) -> bool:
    """Whether a cable is complete, and in some bridge."""
    return bool(cable.get_attr("IFLA_MASTER") and cable["flags"] & IFF_UP)


def _plug_in(links: IPRoute, endpoint: Endpoint, namespace: int, *, hairpin: bool) -> bool:
    """A cable that was complete stays up when its bridge goes, with all that is inside."""
    bridge, cable = _seen_bridge(links, endpoint.network), find(links, cable_name(endpoint))
    if cable is None or not cable["flags"] & IFF_UP:
        return False
    if cable.get_attr("IFLA_MASTER") not in (None, bridge["index"]):
        return False
    if cable.get_attr("IFLA_LINK_NETNSID") != links.get_netnsid(fd=namespace)["nsid"]:
        return False
    name = cable_name(endpoint)
    with translated(f"cable {name!r} can't be joined to bridge {endpoint.network.bridge!r}"):
        links.link("set", index=cable["index"], master=bridge["index"])
        links.brport("set", index=cable["index"], mode=int(hairpin))
    wait_until_sending(links, endpoint.network.bridge)
    _introduce(endpoint)
    return True


def _restore_inside(links: IPRoute, endpoint: Endpoint, namespace: int) -> bool:
    cable = find(links, cable_name(endpoint))
    work = partial(rewire, endpoint=endpoint, cable=cable["index"] if cable else 0)
    return with_netlink(work, namespace)


def _introduce(endpoint: Endpoint) -> None:
    """Let an endpoint learn the bridge's new hardware address, by asking for its own (RFC 826).

    Else it would send to the former one for some seconds.
    """
    for ip in endpoint.addresses:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"", (str(ip), _DISCARD))


def _make_cable(links: IPRoute, endpoint: Endpoint, bridge: ifinfmsg, namespace: int) -> None:
    """Both ends at once, each where it belongs; a bridge's MTU is the least of its ports'."""
    name, mtu = cable_name(endpoint), bridge.get_attr("IFLA_MTU")
    address = hardware_address(endpoint) or _random_hardware_address()
    inside = {"ifname": INSIDE, "net_ns_fd": namespace, "mtu": mtu, "address": address}
    outside = {"ifname": name, "master": bridge["index"], "mtu": mtu}
    with translated(f"cable {name!r} to endpoint {endpoint.name!r} can't be laid", _MAKING_CABLE):
        try:
            links.link("add", kind="veth", **outside, peer=inside)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                raise _end_taken(endpoint, outside=find(links, name) is not None) from error
            raise


def _end_taken(endpoint: Endpoint, *, outside: bool) -> LinkTaken:
    """Which end's name was taken, as the kernel says no more than that one was."""
    if outside:
        return LinkTaken(
            f"interface {cable_name(endpoint)!r} of endpoint {endpoint.name!r} is there already",
            f"remove the endpoint first; if there is none, ip link delete {cable_name(endpoint)}",
        )
    return LinkTaken(
        f"namespace {endpoint.namespace!r} of endpoint {endpoint.name!r} "
        f"has an interface {INSIDE!r} already",
        "rename or remove that one, or add the endpoint by its --address",
    )


def _is_attached(links: IPRoute, endpoint: Endpoint, namespace: int, *, hairpin: bool) -> bool:
    cable, bridge = find(links, cable_name(endpoint)), find(links, endpoint.network.bridge)
    if cable is None or bridge is None or not _plugged(cable):
        return False
    if cable.get_attr("IFLA_MASTER") != bridge["index"] or _sends_back(cable) != hairpin:
        return False
    there = links.get_netnsid(fd=namespace)["nsid"]
    return bool(cable.get_attr("IFLA_LINK_NETNSID") == there)


def _sends_back(cable: ifinfmsg) -> bool:
    """Whether a bridge's port is in hairpin mode."""
    return bool(cable.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_MODE"))


def _random_hardware_address() -> str:
    """One that nobody else has: unicast, locally administered (IEEE 802)."""
    return (b"\x02" + os.urandom(5)).hex(":")


def _refuse_own(endpoint: Endpoint, namespace: int) -> None:
    if is_own(namespace):
        raise LinkFailed(
            f"namespace {endpoint.namespace!r} of endpoint {endpoint.name!r} is the host's own",
            "use another one, or add the endpoint by its --address",
        )


@contextmanager
def _opened(endpoint: Endpoint) -> Iterator[int]:
    """The descriptor of an endpoint's namespace."""
    what = f"namespace {endpoint.namespace!r} of endpoint {endpoint.name!r} can't be used"
    mend = "remove the endpoint and add it anew"
    if not endpoint.of_process:
        mend = f"make it again, and `hostports reload`; or {mend}"
    with translated(what, dict.fromkeys(_GONE, mend)):
        namespace = open_namespace(endpoint.namespace)
    try:
        yield namespace
    finally:
        os.close(namespace)

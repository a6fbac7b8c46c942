"""What keeps packets from a container without any rule: settings, its bridge, what is inside."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hostports.core.rules.settings import FORWARDING, of_interface
from hostports.model.address import Family, IPAddress, family
from hostports.model.condition import Condition, Inside
from hostports.model.network import BridgeNetwork
from hostports.model.port import PortBinding

#: What makes good again what others have done to what is ours.
_RELOAD: Final = "hostports reload"


class Fault(NamedTuple):
    """What is wrong, and the command that mends it."""

    what: str
    mend: str


def of_forwarding(condition: Condition, interface: str, of: Family) -> Iterator[Fault]:
    """What comes by an interface is not forwarded (ip-sysctl.rst); for IPv6 all or none is."""
    host, own = FORWARDING[of][-1], of_interface(interface, "forwarding")
    if condition.settings.get(host) != "1":
        what = f"the host does not forward IPv{of.value} ({host} is not 1)"
        yield Fault(what, f"sysctl -w {host}=1")
    elif of is Family.IPV4 and condition.settings.get(own) == "0":
        what = f"the host does not forward what comes by {interface} ({own} is 0)"
        yield Fault(what, f"sysctl -w {own}=1")


def of_bridge(condition: Condition, network: BridgeNetwork, of: Family) -> Iterator[Fault]:
    """A network's bridge is not up, or not where our addresses are; others' have what they like."""
    addresses = condition.interfaces.get(network.bridge)
    gateway = network.gateway(of)
    if addresses is None:
        mend = f"ip link set {network.bridge} up" if network.existing else _RELOAD
        yield Fault(f"{network.bridge} of network {network.name} is down, or gone", mend)
    elif not network.existing and gateway and gateway not in [each.ip for each in addresses]:
        yield Fault(f"{network.bridge} has lost its address {gateway}", _RELOAD)


def of_container(inside: Inside | None, binding: PortBinding) -> Iterator[Fault]:
    """The container doesn't take what comes to its address."""
    ip = binding.container_ip
    if inside and not any(ip in each for each in inside.own):
        what = f"{binding.endpoint} has lost its address {ip}, or its interface is down"
        yield Fault(what, _RELOAD)


def of_way_back(inside: Inside | None, binding: PortBinding, client: IPAddress) -> Iterator[Fault]:
    """The container can't answer a client that it sees; the relay is beside it."""
    if inside and not any(client in each for each in inside.routes):
        what = (
            f"{binding.endpoint} has no route back to IPv{family(client).value} clients as {client}"
        )
        yield Fault(what, _RELOAD)

"""The subcommands, over the daemon's API."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from hostports.client.errors import ApiConflict, ApiNotFound
from hostports.client.http import Json
from hostports.client.sync import Client
from hostports.errors import UnusableValue
from hostports.netavark.request import INTERFACE, Config, Container, objects, wanted_network

#: How Podman calls the namespaces that it makes (containers/common, pkg/netns).
_NAMESPACE: Final = "netns-"
#: What a network gets from us whatever is asked for: Podman's own addresses, and no names.
_OURS: Final = {"dns_enabled": False, "ipam_options": {"driver": "host-local"}}


def create(client: Client, config: Config) -> Json:
    """Make a network, or take one that is there; it stays until `hostports network rm`."""
    name, asked = wanted_network(config)
    _refuse_gateways(config)
    try:
        network = client.create_network(name, **asked)
    except ApiConflict as conflict:
        network = _there(client, name, asked, conflict)
    ranges = {each["subnet"]: each for each in objects(config, "subnets")}
    subnets = [
        {**ranges.get(subnet, {}), "subnet": subnet, "gateway": _gateway(subnet)}
        for subnet in network["subnets"]
    ]
    return {
        **config,
        "network_interface": network["bridge"],
        "subnets": subnets,
        "ipv6_enabled": any(":" in each for each in network["subnets"]),
        "internal": network["internal"],
        **_OURS,
    }


def setup(client: Client, netns: str, container: Container) -> Json:
    """Wire a container up and publish its ports, all or nothing; what became of it."""
    container.refuse_unfit()
    network = _network(client, container)
    _remove_stale(client, network["name"], container)
    endpoint = client.add_endpoint(
        network["name"], container.endpoint, netns=netns, **container.addresses
    )
    try:
        if specs := container.specs():
            client.publish(endpoint["name"], specs)
    except BaseException:
        client.remove_endpoint(endpoint["name"])
        raise
    addresses = list(_addresses(endpoint["addresses"], network["subnets"]))
    interface = {"mac_address": endpoint["mac"], "subnets": addresses}
    return {"dns_search_domains": [], "dns_server_ips": [], "interfaces": {INTERFACE: interface}}


def teardown(client: Client, container: Container) -> None:
    """Unpublish a container's ports and take its cable away, if there is one."""
    with suppress(ApiNotFound):
        client.remove_endpoint(container.endpoint)


def _there(client: Client, name: str, asked: Config, conflict: ApiConflict) -> Json:
    """The network of this name, if it is that with which there is a conflict."""
    try:
        network = client.network(name)
    except ApiNotFound:
        raise conflict from None
    for key, value in asked.items():
        if network[key] != value:
            raise UnusableValue(
                name,
                f"there is such a network already, whose {key} is {network[key]}",
                "ask for that, remove it with `hostports network rm`, or choose another name",
            )
    return network


def _network(client: Client, container: Container) -> Json:
    """A container's network, made anew if the record of it was lost."""
    name, asked = wanted_network(container.network)
    try:
        return client.network(name)
    except ApiNotFound:
        return client.create_network(name, **asked)


def _remove_stale(client: Client, network: str, container: Container) -> None:
    """Remove what was never torn down, as when the host went down.

    That is what is this container's, or of a namespace of Podman's that is gone.
    """
    for each in client.endpoints(network)["endpoints"]:
        namespace = Path(each["namespace"])
        gone = namespace.name.startswith(_NAMESPACE) and not namespace.exists()
        if gone or each["name"] == container.endpoint:
            with suppress(ApiNotFound):
                client.remove_endpoint(each["name"])


def _addresses(ips: Sequence[str], subnets: Sequence[str]) -> Iterator[Json]:
    for subnet in subnets:
        net = ip_network(subnet)
        for ip in ips:
            if ip_address(ip) in net:
                yield {"ipnet": f"{ip}/{net.prefixlen}", "gateway": _gateway(subnet)}


def _refuse_gateways(config: Config) -> None:
    for each in objects(config, "subnets"):
        if (given := each.get("gateway")) and given != _gateway(each["subnet"]):
            raise UnusableValue(
                str(given), "the gateway is a subnet's first address", "leave it out"
            )


def _gateway(subnet: str) -> str:
    try:
        return str(ip_network(subnet)[1])
    except (ValueError, IndexError):
        raise UnusableValue(subnet, "it is no subnet", "write one as 10.0.0.0/24") from None

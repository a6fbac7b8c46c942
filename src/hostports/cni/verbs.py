"""The verbs, over the daemon's API."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from hostports.client.errors import ApiConflict, ApiNotFound, DaemonUnreachable
from hostports.client.http import Json
from hostports.client.sync import Client
from hostports.cni.errors import INVALID_CONFIG, NOT_AVAILABLE, NOT_PUBLISHED, CniError, told
from hostports.cni.names import Attachment, network_name, strays, tag_of
from hostports.cni.request import (
    Mapped,
    Request,
    addresses,
    host_interface,
    mappings,
    packed,
    previous,
    valid_attachments,
)
from hostports.errors import HostportsError

#: How often a network is looked for that others remove, or make, at the same moment.
_ATTEMPTS: Final = 5


def add(client: Client, request: Request) -> Json:
    """Publish a container's ports, all or none, and pass on what is known of it."""
    wanted, result = mappings(request.config), previous(request.config)
    ips = addresses(result, request.attachment.interface)
    try:
        _remove_stale(client, request, ips)
    except DaemonUnreachable:  # which is nothing to a container without ports
        if wanted:
            raise
    if wanted:
        endpoint = _added(client, request, result, ips)
        try:
            _publish(client, endpoint, wanted)
        except BaseException:
            _remove(client, [endpoint])
            raise
    return {**result, "cniVersion": request.version}


def delete(client: Client, request: Request) -> None:
    """Unpublish a container's ports, if there are any.

    Without a daemon nobody can tell; of a container without ports there is nothing to be told.
    """
    try:
        _remove(client, _of(client, request.attachment))
    except DaemonUnreachable:
        if mappings(request.config):
            raise


def check(client: Client, request: Request) -> None:
    """Look whether all that was asked for is published."""
    wanted, result = mappings(request.config), previous(request.config)
    if not wanted:
        return
    inside = addresses(result, request.attachment.interface)
    endpoints = _of(client, request.attachment)
    bindings = [
        each
        for endpoint in endpoints
        for each in client.ports(endpoint["name"])["bindings"]
        if each["container_ip"] in inside
    ]
    # A daemon that is older than the plugin doesn't tell what is lost.
    lost = [each for endpoint in endpoints for each in endpoint.get("lost", ())]
    if missing := [*_missing(wanted, bindings), *lost]:
        raise CniError(
            NOT_PUBLISHED,
            f"not published: {', '.join(missing)}",
            "`hostports doctor` says who holds a port; else delete and add the container",
        )


def collect(client: Client, request: Request) -> None:
    """Unpublish the ports of all containers of a network that are gone."""
    valid = valid_attachments(request)
    endpoints = {each["name"]: each for each in client.endpoints()["endpoints"]}
    _remove(client, [endpoints[name] for name in strays(endpoints, request.network, valid)])


def status(client: Client) -> None:
    """Look whether the daemon would publish ports."""
    try:
        client.health()
    except HostportsError as error:
        why = told(error)
        raise CniError(NOT_AVAILABLE, str(why), why.details) from None


def _of(client: Client, attachment: Attachment) -> list[Json]:
    """The endpoint of an attachment, whatever its pod was called."""
    found: list[Json] = client.endpoints()["endpoints"]
    own = attachment.tag("").own
    return [each for each in found if (tag := tag_of(each["name"])) and tag.own == own]


def _remove_stale(client: Client, request: Request, ips: Sequence[str]) -> None:
    """Remove what containers have left that nobody has deleted, as when the host went down.

    That is what is of another boot, of the same container, or of the same network with an address
    that is now another's.
    """
    now, stale = request.attachment.tag(_boot()), []
    for each in client.endpoints()["endpoints"]:
        if tag := tag_of(each["name"]):
            same_address = tag.network == now.network and set(ips) & set(each["addresses"])
            if tag.boot != now.boot or tag.own == now.own or same_address:
                stale.append(each)
    _remove(client, stale)


def _boot() -> str:
    """What the kernel calls this boot of the host (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:  # noqa: PTH123 - pathlib is slow to import
        return boot.read().strip()


def _added(client: Client, request: Request, result: Json, ips: Sequence[str]) -> Json:
    if not ips:
        raise CniError(INVALID_CONFIG, "prevResult has no address of the container")
    name = request.attachment.endpoint(request.pod, _boot())
    given = request.text("network")
    interface = "" if given else request.text("interface") or host_interface(result)
    for _ in range(_ATTEMPTS - 1):
        with suppress(ApiNotFound):  # its last endpoint was removed at this moment
            return client.add_endpoint(given or _behind(client, interface), name, addresses=ips)
        if given:
            break
    return client.add_endpoint(given or _behind(client, interface), name, addresses=ips)


def _behind(client: Client, interface: str) -> str:
    """The name of the network behind an interface, made where there is none."""
    for _ in range(_ATTEMPTS):
        for each in client.networks()["networks"]:
            if each["bridge"] == interface:
                return str(each["name"])
        with suppress(ApiConflict):  # somebody else makes it at this moment
            name = network_name(interface)
            return str(client.create_network(name, bridge=interface, ports_only=True)["name"])
    return network_name(interface)


def _publish(client: Client, endpoint: Json, wanted: Sequence[Mapped]) -> None:
    answer = client.publish(endpoint["name"], [each.spec for each in wanted])
    if missing := _missing(wanted, answer["bindings"]):
        why = "; ".join(answer["warnings"])
        raise CniError(INVALID_CONFIG, f"can't be published: {', '.join(missing)}", why)


def _missing(wanted: Iterable[Mapped], bindings: Sequence[Json]) -> list[str]:
    """What is asked for and not published; a routed network has no host addresses and ports."""
    there = set[tuple[bytes, int, str, int]]()
    for each in bindings:
        inside = each["host_port"], each["proto"], each["container_port"]
        there |= {(b"", *inside), (packed(each["host_ip"]), *inside)}
    return [
        each.spec
        for each in wanted
        if (packed(each.host_ip), each.host_port, each.protocol, each.container_port) not in there
        and (b"", 0, each.protocol, each.container_port) not in there
    ]


def _remove(client: Client, endpoints: Iterable[Json]) -> None:
    """Remove endpoints, and the networks that were made for them."""
    networks = set()
    for each in endpoints:
        networks.add(each["network"])
        with suppress(ApiNotFound):
            client.remove_endpoint(each["name"])
    for name in networks:
        with suppress(ApiNotFound, ApiConflict):  # others are still there, or have come
            network = client.network(name)
            if network["ports_only"] and name == network_name(network["bridge"]):
                client.remove_network(name)

"""A host's networks, endpoints and published ports by their names: what a daemon serves."""

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from hostports.core.expand import PublishRequest
from hostports.core.flows import of_former
from hostports.core.networks import (
    EndpointRequest,
    NetworkRequest,
    decide_endpoint,
    decide_network,
)
from hostports.core.selection import Item, selected
from hostports.core.showing import shown, with_traffic
from hostports.engine.engine import Engine
from hostports.engine.publish import Publication
from hostports.engine.restore import Lost
from hostports.engine.undo import UndoStack, failures_of
from hostports.errors import HostportsError, InUse, NotFound, RelayFailed, ReleaseFailed
from hostports.model.address import ANY_IPV4, IPAddress, IPNetwork
from hostports.model.firewall import FirewallChange, FirewallItem
from hostports.model.following import Following
from hostports.model.network import BridgeNetwork, Endpoint
from hostports.model.port import PortBinding, PortSpec, ProxyProtocol, PublishMode
from hostports.model.published import Plan, PublishedPort
from hostports.model.relay import RelayCounters
from hostports.model.state import Recorded, State


@dataclass(frozen=True, slots=True)
class PortsRequest:
    """Ports to publish of an endpoint that goes by its name; see `PublishRequest`.

    A host address that isn't there yet is waited for, for `wait_address_s` seconds, by whoever
    serves the request: a registry never waits.
    """

    endpoint: str
    specs: Sequence[PortSpec]
    mode: PublishMode = PublishMode.NAT
    allow_from: tuple[IPNetwork, ...] = ()
    proxy_protocol: ProxyProtocol | None = None
    wait_address_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a request, in order of allocation, and what its sender should know."""

    ports: tuple[PublishedPort, ...]
    warnings: tuple[str, ...] = ()


class Registry:
    """Creates and removes what goes by a name, each call all or nothing.

    One call at a time changes something; those that only look may come from any thread meanwhile.
    `default_host_ip` stands for the host address that a spec leaves out.
    """

    def __init__(self, engine: Engine, default_host_ip: IPAddress = ANY_IPV4) -> None:
        self.engine = engine
        self.edges = engine.resources.edges
        if self.edges.links is None:
            raise ValueError("networks need links")
        self.links = self.edges.links
        self._record = engine.resources.record
        self.default_host_ip = default_host_ip
        self._networks: dict[str, BridgeNetwork] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._lost: dict[PortBinding, Lost] = {}
        self._lost_created: dict[PortBinding, datetime] = {}
        self._followings: dict[Following, None] = {}
        #: What the last look at interfaces saw, while all that came of it is as it was.
        self.looked: object = None

    def know(self, state: State) -> None:
        """Begin with networks, endpoints and followings that are recorded."""
        self._networks.update(state.networks)
        self._endpoints.update(state.endpoints)
        self._followings.update(dict.fromkeys(state.followings))

    @property
    def lost(self) -> list[Lost]:
        """What is recorded as wanted but can't be had."""
        return list(self._lost.values())

    def restore(self, created: Mapping[PortBinding, datetime]) -> list[Lost]:
        """Publish what is recorded, with these times; what can't be had.

        That is kept in mind, and stays wanted, until it is unpublished. Raises `FirewallFailed`,
        `RelayFailed` or `StoreFailed`, which concern all of an endpoint.
        """
        lost: list[Lost] = []
        for name, bindings in groupby(created, key=attrgetter("endpoint")):
            lost += self.engine.restore(self.endpoint(name), list(bindings), created).lost
        self._lost |= {each.binding: each for each in lost}
        self._lost_created |= {each.binding: created[each.binding] for each in lost}
        return lost

    def abandon(self) -> None:
        """Forget all bindings, published or lost, as the relay has died with their sockets."""
        self.engine.abandon(self.engine.created())
        self._lost, self._lost_created = {}, {}
        self.looked = None

    def regain(self) -> list[PortBinding]:
        """Publish what was lost and can be had by now; returns that.

        Raises `FirewallFailed` or `RelayFailed`, which concern all; then nothing is regained.
        """
        regained: list[PortBinding] = []
        free = [each for each in self._lost if self._is_free(each)]
        for name, bindings in groupby(free, key=attrgetter("endpoint")):
            endpoint = self.endpoint(name)
            restoration = self.engine.restore(endpoint, list(bindings), self._lost_created)
            regained += restoration.bindings
            back = set(restoration.bindings)
            self._lost = {
                **{each: why for each, why in self._lost.items() if each not in back},
                **{each.binding: each for each in restoration.lost},
            }
            self.engine.resources.forget_flows(restoration.bindings)
        return regained

    def _is_free(self, binding: PortBinding) -> bool:
        """Whether nobody holds a port; cheap, as who it is isn't asked for."""
        sockets = self.edges.sockets
        if binding.routed:
            return True
        try:
            sockets.reserve(binding.socket)
        except HostportsError:
            return False
        sockets.release(binding.socket)
        return True

    def followings(self, endpoint: str | None = None) -> list[Following]:
        """What is published on whatever addresses an interface has, of one endpoint or of all."""
        return [each for each in list(self._followings) if endpoint in (None, each.endpoint)]

    def networks(self) -> list[BridgeNetwork]:
        """All networks, the oldest first."""
        return list(self._networks.values())

    def network(self, name: str) -> BridgeNetwork:
        """A network by its name. Raises `NotFound`."""
        try:
            return self._networks[name]
        except KeyError:
            raise NotFound(f"there is no network {name!r}", "see `hostports network ls`") from None

    def endpoints(self, network: str | None = None) -> list[Endpoint]:
        """All endpoints, or those of one network, the oldest first. Raises `NotFound`."""
        if network is None:
            return list(self._endpoints.values())
        wanted = self.network(network)
        return [each for each in list(self._endpoints.values()) if each.network == wanted]

    def endpoint(self, name: str) -> Endpoint:
        """An endpoint by its name. Raises `NotFound`."""
        try:
            return self._endpoints[name]
        except KeyError:
            raise NotFound(
                f"there is no endpoint {name!r}", "see `hostports endpoint ls`"
            ) from None

    def create_network(self, request: NetworkRequest) -> BridgeNetwork:
        """Record a network, protect it, and make its bridge.

        Raises `NameTaken`, `UnusableValue`, `NoAddressFree`, or what the edges raise.
        """
        network = decide_network(request, self.networks(), self.links.read())
        with UndoStack() as undo:
            self._admit(network, undo)
            self.links.add_bridge(network)
        self._networks[network.name] = network
        return network

    def remove_network(self, name: str, *, force: bool = False) -> None:
        """Remove a network, with `force` also its endpoints.

        Raises `NotFound`, `InUse`, or `ReleaseFailed` with all that went wrong; then the network is
        gone nevertheless, unless it was the record that failed: what is in that stays.
        """
        network = self.network(name)
        endpoints = self.endpoints(name)
        if endpoints and not force:
            names = ", ".join(repr(each.name) for each in endpoints)
            raise InUse(
                f"network {name!r} still has endpoints: {names}", "remove them, or use --force"
            )
        failures = failures_of(partial(self.remove_endpoint, each.name) for each in endpoints)
        if not self.endpoints(name):
            failures += failures_of(
                [
                    partial(self.links.remove_bridge, network),
                    partial(self.edges.firewall.apply, FirewallChange(closed=(network,))),
                    partial(self._strike_out, network, self._networks),
                ]
            )
        if failures:
            raise ReleaseFailed(failures)

    def add_endpoint(self, request: EndpointRequest) -> Endpoint:
        """Record an endpoint, protect its addresses, and wire its namespace up, if it has one.

        Flows of who had its addresses before are forgotten.
        Raises `NotFound`, `NameTaken`, `UnusableValue`, `NoAddressFree`, or what the edges raise.
        """
        if request.namespace:
            path = self.links.namespace(request.namespace)
            request = replace(request, namespace=path)
        network = self.network(request.network)
        endpoint = decide_endpoint(request, network, self.endpoints())
        with UndoStack() as undo:
            self._admit(endpoint, undo)
            self.links.attach(endpoint)
            undo.push(partial(self.links.detach, endpoint))
            if self.edges.conntrack is not None:
                self.edges.conntrack.forget_if(of_former(endpoint), [*endpoint.addresses])
        self._endpoints[endpoint.name] = endpoint
        return endpoint

    def remove_endpoint(self, name: str) -> None:
        """Unpublish an endpoint's ports, and take its cable away.

        Raises `NotFound`; `StoreFailed`, if that can't be recorded, and changes nothing; or
        `ReleaseFailed` with all that went wrong; then the endpoint is gone nevertheless, unless it
        was the record that failed in the end.
        """
        endpoint = self.endpoint(name)
        failures: list[Exception] = []
        try:
            self.unpublish(name)
        except ReleaseFailed as error:
            failures += error.errors
        failures += failures_of(
            [
                partial(self.links.detach, endpoint),
                partial(self.edges.firewall.apply, FirewallChange(closed=(endpoint,))),
                partial(self._strike_out, endpoint, self._endpoints),
            ]
        )
        if failures:
            raise ReleaseFailed(failures)

    def publish(self, request: PortsRequest) -> Published:
        """Publish ports of an endpoint. Raises `NotFound`, or what `Engine.publish` raises."""
        publication = self.engine.publish(self._asked(request), self._is_wanted)
        self._followings.update(dict.fromkeys(publication.followings))
        self._replace_lost(publication)
        created = self.engine.created()
        ports = tuple(
            self._shown(each, created[each], self._networks) for each in publication.bindings
        )
        return Published(ports, publication.warnings)

    def plan(self, request: PortsRequest) -> Plan:
        """What `publish` would do. Raises `NotFound`, or what `Engine.plan` raises."""
        plan = self.engine.plan(self._asked(request))
        rules = self.edges.firewall.planned(FirewallChange(opened=plan.bindings))
        return replace(plan, rules=tuple(rules))

    def unpublish(
        self, endpoint: str, specs: Sequence[PortSpec] | None = None, *, kill: bool = False
    ) -> list[PortBinding]:
        """Take back what specs mean, or everything, of an endpoint; returns the bindings.

        Also what was lost, and so only wanted; and interfaces are followed no longer. Established
        TCP connections by DNAT end with `kill` only. Raises `NotFound`; or `ReleaseFailed`, when
        the ports are given back nevertheless.
        """
        there: list[Item] = [
            *self.engine.published(self.endpoint(endpoint).name),
            *(each for each in self._lost if each.endpoint == endpoint),
            *self.followings(endpoint),
        ]
        chosen = there if specs is None else selected(specs, there)
        bindings = [each for each in chosen if isinstance(each, PortBinding)]
        followings = [each for each in chosen if isinstance(each, Following)]
        self.release(bindings, followings, kill=kill)
        return bindings

    def release(
        self,
        bindings: Sequence[PortBinding],
        followings: Sequence[Following] = (),
        *,
        kill: bool = False,
    ) -> None:
        """Want bindings and followings no longer, and unpublish what is published of them.

        Raises `StoreFailed`, and changes nothing, or `ReleaseFailed`, as `Engine.unpublish`.
        """
        failures: Sequence[Exception] = ()
        try:
            self.engine.unpublish(bindings, followings, kill=kill)
        except ReleaseFailed as error:
            failures = error.errors
        for binding in bindings:
            self._lost.pop(binding, None)
        for following in followings:
            self._followings.pop(following, None)
        self.looked = None
        if failures:
            raise ReleaseFailed(failures)

    def ports(self, endpoint: str | None = None) -> list[PublishedPort]:
        """What is published, of all endpoints or one, with what has passed. Raises `NotFound`."""
        name = endpoint and self.endpoint(endpoint).name
        traffic = self.edges.firewall.traffic()
        relayed = self._relayed()
        # A forced removal may have taken a network away meanwhile.
        networks = dict(self._networks)
        return [
            with_traffic(
                self._shown(each, at, networks), traffic.get(each.socket), relayed.get(each)
            )
            for each, at in self.engine.created().items()
            if name in (None, each.endpoint) and each.network in networks
        ]

    def reload(self, parts: Set[str] = frozenset()) -> None:
        """Make the firewall anew, whatever others did to it, or to `parts` of it only.

        Raises `FirewallFailed`.
        """
        self.edges.firewall.rebuild(parts)

    def _is_wanted(self, item: Recorded) -> bool:
        """Whether it is recorded without being published."""
        return item in (self._followings if isinstance(item, Following) else self._lost)

    def _replace_lost(self, by: Publication) -> None:
        """Want what was lost of ports that are published now no longer, or as it is now."""
        taken = {each.host_socket for each in by.bindings}
        lost = {each for each in self._lost if each.host_socket in taken}
        if lost:
            again = [each for each in by.bindings if each in lost]
            self._record(added=again, removed=list(lost), at=by.at)
            for each in lost:
                del self._lost[each]

    def _asked(self, request: PortsRequest) -> PublishRequest:
        return PublishRequest(
            self.endpoint(request.endpoint),
            request.specs,
            default_host_ip=self.default_host_ip,
            mode=request.mode,
            allow_from=request.allow_from,
            proxy_protocol=request.proxy_protocol,
            former=self.edges.store.former(request.endpoint) if self.edges.store else {},
        )

    def _relayed(self) -> Mapping[PortBinding, RelayCounters]:
        """What the relay has counted; nothing while it can't be asked, of which `doctor` tells."""
        if self.edges.relay is None:
            return {}
        with suppress(RelayFailed):
            return {each.binding: each.counters for each in self.edges.relay.held()}
        return {}

    def _shown(
        self, binding: PortBinding, created: datetime, networks: Mapping[str, BridgeNetwork]
    ) -> PublishedPort:
        network = networks[binding.network]
        return shown(binding, network, created, self.edges.ways)

    def _strike_out(self, item: BridgeNetwork | Endpoint, of: dict[str, Any]) -> None:
        """Forget an item, last: if we are killed before this, the next start makes it anew.

        What can't be struck out of the record stays, to be removed again.
        """
        self._record(removed=[item])
        del of[item.name]

    def _admit(self, item: FirewallItem, undo: UndoStack) -> None:
        """Record a network or endpoint and protect it, before it is there."""
        self._record(added=[item])
        undo.push(partial(self._record, removed=[item]))
        change = FirewallChange(opened=(item,))
        self.edges.firewall.apply(change)
        undo.push(partial(self.edges.firewall.apply, change.reversed()))

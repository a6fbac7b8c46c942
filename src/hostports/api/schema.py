"""Requests and answers as they are on the wire, for decoding, encoding and the OpenAPI document.

What is decoded here has the right shape; whether its words mean something, `convert` finds out.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from hostports.api import patterns
from hostports.model.event import Happening, Severity
from hostports.model.network import GatewayMode
from hostports.model.port import MAX_PORT, Protocol, ProxyProtocol, PublishMode
from hostports.model.published import Path

#: The largest process number of Linux on 64 bits (PID_MAX_LIMIT).
_MOST_PIDS: Final = 1 << 22
#: Seconds that a request may wait for a host address.
_MOST_WAITED_S: Final = 3600
#: Bytes of a path without its end (PATH_MAX, path_resolution(7)).
_LONGEST_PATH: Final = 4095
_LONGEST_TRACE_S: Final = 600.0

_IPV4: Final = {"format": "ipv4"}
_IPV6: Final = {"format": "ipv6"}
_SUBNET: Final = {"pattern": patterns.SUBNET, "examples": ["10.0.0.0/24"]}
_SOURCE: Final = {"pattern": patterns.SOURCE, "examples": ["192.0.2.0/24"]}
_SPEC: Final = {"pattern": patterns.SPEC, "examples": ["8080:80/tcp"]}

IPv4Text: TypeAlias = Annotated[str, Meta(extra_json_schema=_IPV4)]
IPv6Text: TypeAlias = Annotated[str, Meta(extra_json_schema=_IPV6)]
AddressText: TypeAlias = Annotated[str, Meta(extra_json_schema={"anyOf": [_IPV4, _IPV6]})]
SubnetText: TypeAlias = Annotated[str, Meta(extra_json_schema=_SUBNET)]
SourceText: TypeAlias = Annotated[str, Meta(extra_json_schema=_SOURCE)]
SpecText: TypeAlias = Annotated[str, Meta(extra_json_schema=_SPEC)]
TrustedText: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": patterns.INTERFACES})]

#: What an error is, for programs.
Code: TypeAlias = Literal[
    "unusable_input",
    "not_permitted",
    "not_found",
    "method_not_allowed",
    "conflict",
    "too_large",
    "failed",
    "no_port_free",
]

# A field's description says what to write there: where something else is written, it is the mend.
Name: TypeAlias = Annotated[
    str,
    Meta(
        description="up to 128 letters, digits, '_', '.' and '-', the first a letter or digit",
        extra_json_schema={"pattern": patterns.NAME},
    ),
]
Mode: TypeAlias = Annotated[
    GatewayMode, Meta(description="nat, nat-unprotected, routed or isolated")
]


class Request(Struct, forbid_unknown_fields=True):
    """What is sent; a field that we don't know is a mistake, not something to overlook."""


class Answer(Struct):
    """What is sent back; later versions may add fields."""


class Nothing(Request):
    """A request that says all by its path."""


class CreateNetwork(Request):
    """A network to create; what is left out is chosen."""

    name: Name
    bridge: Annotated[
        str,
        Meta(
            description="an interface's name, or nothing to have one made of the network's",
            extra_json_schema={"pattern": patterns.BRIDGE},
        ),
    ] = ""
    subnets: Annotated[
        tuple[SubnetText, ...],
        Meta(description="a list of one subnet a family, as 10.0.0.0/24, or none", max_length=2),
    ] = ()
    gateway_mode_ipv4: Mode = GatewayMode.NAT
    gateway_mode_ipv6: Mode = GatewayMode.NAT
    host_ipv4: Annotated[
        IPv4Text | None, Meta(description="the IPv4 source of what leaves, or null")
    ] = None
    host_ipv6: Annotated[
        IPv6Text | None, Meta(description="the IPv6 source of what leaves, or null")
    ] = None
    internal: Annotated[bool, Meta(description="true to reach nothing else, or false")] = False
    icc: Annotated[bool, Meta(description="false to keep endpoints apart, or true")] = True
    masquerade: Annotated[bool, Meta(description="false to keep sources, or true")] = True
    trusted_host_interfaces: Annotated[
        tuple[TrustedText, ...],
        Meta(description="a list of interfaces' names, tun+ for all that begin with tun"),
    ] = ()
    existing_bridge: Annotated[
        bool, Meta(description="true for a bridge of somebody else, or false")
    ] = False
    ports_only: Annotated[
        bool,
        Meta(description="true to publish ports of somebody else's network only, or false"),
    ] = False


class Trace(Request):
    """Whose way to follow: packets to a port, of one address of the host or of any."""

    port: Annotated[int, Meta(ge=1, le=65535, description="a host port, 1 to 65535")]
    address: Annotated[AddressText, Meta(description="an IP address of this host")] = "0.0.0.0"
    protocol: Annotated[Protocol, Meta(description="tcp, udp or sctp")] = Protocol.TCP
    seconds: Annotated[
        float, Meta(gt=0, le=_LONGEST_TRACE_S, description="how long to wait, at most 600 seconds")
    ] = 30.0
    probe: Annotated[
        bool, Meta(description="true to send a packet from this host itself, or false")
    ] = False


class RemoveNetwork(Request):
    """How to remove a network."""

    force: Annotated[bool, Meta(description="true to remove its endpoints, too, or false")] = False


class AddEndpoint(Request):
    """An endpoint to add: a namespace to wire up, or addresses that somebody else brought up."""

    name: Name
    netns: Annotated[
        Annotated[str, Meta(max_length=_LONGEST_PATH, extra_json_schema={"pattern": patterns.PATH})]
        | None,
        Meta(description="a network namespace's path, or its name in /run/netns"),
    ] = None
    pid: Annotated[
        Annotated[int, Meta(ge=1, le=_MOST_PIDS)] | None,
        Meta(description="the number of a process in the namespace, from 1"),
    ] = None
    addresses: Annotated[
        Annotated[tuple[AddressText, ...], Meta(max_length=2)] | None,
        Meta(description="a list of one address a family"),
    ] = None
    ipv4: Annotated[
        IPv4Text | None, Meta(description="an IPv4 address, or null to have one chosen")
    ] = None
    ipv6: Annotated[
        IPv6Text | None, Meta(description="an IPv6 address, or null to have one chosen")
    ] = None


class PublishPorts(Request):
    """Ports to publish: all of them or none."""

    specs: Annotated[
        tuple[SpecText, ...],
        Meta(description='a list of what stands behind -p, as "8080:80/tcp"', min_length=1),
    ]
    mode: Annotated[PublishMode, Meta(description="nat or relay")] = PublishMode.NAT
    allow_from: Annotated[
        tuple[SourceText, ...],
        Meta(description="a list of who gets through, as 192.0.2.0/24; empty for all"),
    ] = ()
    proxy_protocol: Annotated[ProxyProtocol | None, Meta(description="v2 or null")] = None
    wait_address: Annotated[
        float,
        Meta(description="seconds to wait for a host address", ge=0, le=_MOST_WAITED_S),
    ] = 0


class PlanPorts(PublishPorts, kw_only=True):
    """Ports to plan."""

    endpoint: Name


class UnpublishPorts(Request):
    """Ports to take back: what specs mean, or all."""

    specs: Annotated[
        tuple[SpecText, ...],
        Meta(description='a list of published ports, as "8080:80/tcp" or "80"'),
    ] = ()
    all: Annotated[bool, Meta(description="true for all ports, or false")] = False
    kill: Annotated[
        bool, Meta(description="true to end established TCP connections, too, or false")
    ] = False


class OpenPage(Request):
    """A web page to serve on loopback."""

    port: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_PORT)], Meta(description="a port, or 0 for a free one")
    ] = 0


#: What fits only one of these; the fields alone don't say so.
ONE_OF: Final[dict[type[Request], list[dict[str, object]]]] = {
    AddEndpoint: [
        {
            "required": ["netns"],
            "properties": {
                "netns": {"type": "string", "minLength": 1},
                "pid": {"type": "null"},
                "addresses": {"type": ["null", "array"], "maxItems": 0},
            },
        },
        {
            "required": ["pid"],
            "properties": {
                "pid": {"type": "integer"},
                "netns": {"type": ["null", "string"], "maxLength": 0},
                "addresses": {"type": ["null", "array"], "maxItems": 0},
            },
        },
        {
            "required": ["addresses"],
            "properties": {
                "addresses": {"type": "array", "minItems": 1},
                "netns": {"type": ["null", "string"], "maxLength": 0},
                "pid": {"type": "null"},
                "ipv4": {"type": "null"},
                "ipv6": {"type": "null"},
            },
        },
    ],
    UnpublishPorts: [
        {
            "required": ["specs"],
            "properties": {"specs": {"minItems": 1}, "all": {"const": False}},
        },
        {
            "required": ["all"],
            "properties": {"all": {"const": True}, "specs": {"maxItems": 0}},
        },
    ],
}


class Network(Answer):
    """A bridge network."""

    name: str
    bridge: str
    subnets: tuple[str, ...]
    gateway_mode_ipv4: GatewayMode
    gateway_mode_ipv6: GatewayMode
    host_ipv4: IPv4Text | None
    host_ipv6: IPv6Text | None
    internal: bool
    icc: bool
    masquerade: bool
    trusted_host_interfaces: tuple[str, ...]
    existing_bridge: bool
    ports_only: bool


class Networks(Answer):
    """Networks, the oldest first."""

    networks: tuple[Network, ...]


class Endpoint(Answer):
    """One thing with an address on a network.

    `namespace` is its file if we have wired it up, and `mac` its hardware address there. `follows`
    are specs that are published on whatever addresses an interface has, `lost` what can't be had.
    """

    name: str
    network: str
    addresses: tuple[AddressText, ...]
    kind: Literal["namespace", "address"]
    namespace: str
    mac: str | None
    follows: tuple[str, ...]
    lost: tuple[str, ...]


class Endpoints(Answer):
    """Endpoints, the oldest first."""

    endpoints: tuple[Endpoint, ...]


class Binding(Answer):
    """A published port; `host_port` is 0 where the network is routed.

    `interface` is the one that it follows: it goes with the address, and others come with others.
    What is not, or not any more, published has passed nothing, and was `created` at the moment that
    tells of it.
    """

    endpoint: str
    network: str
    proto: Protocol
    host_ip: AddressText
    host_port: int
    container_ip: AddressText
    container_port: int
    gateway_mode: GatewayMode
    mode: PublishMode
    path: Path
    allow_from: tuple[str, ...]
    proxy_protocol: ProxyProtocol | None
    child_host_ip: AddressText | None
    interface: str | None
    packets: int
    bytes: int
    connections: int
    created: datetime


class Bindings(Answer):
    """Bindings in order of allocation."""

    bindings: tuple[Binding, ...]


class Published(Bindings):
    """What came of a request, and what its sender should know."""

    warnings: tuple[str, ...]


class Plan(Published):
    """What would come of a request."""

    sockets: tuple[str, ...]
    rules: tuple[str, ...]


class Event(Answer):
    """One change; a line of the stream."""

    event: Happening
    time: datetime
    network: str
    endpoint: str
    bindings: tuple[Binding, ...]
    message: str


class Page(Answer):
    """Where a web page is, with the token that opens it."""

    url: str


class Finding(Answer):
    """What helps or keeps published ports from being reached, and the mend."""

    severity: Severity
    what: str
    mend: str
    where: str
    ports: tuple[str, ...]


class Findings(Answer):
    """What the doctor has found."""

    findings: tuple[Finding, ...]


class Told(Answer):
    """A sentence of a packet's story; a line of the stream."""

    sentence: str


class Health(Answer):
    """That the daemon answers, and which."""

    status: Literal["ok"]
    version: str


class Error(Answer):
    """What went wrong, as a code for programs and in words, and what to do about it."""

    code: Code
    message: str
    hint: str


class Refusal(Answer):
    """The document of every answer that is no success."""

    error: Error

"""What a runtime asks for: from environment and standard input, checked (CNI 1.1.0, section 2)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from json import loads
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final, NamedTuple

from hostports.brackets import bracketed
from hostports.cni.errors import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    UNDECODABLE,
    CniError,
)
from hostports.cni.names import Attachment, is_name
from hostports.errors import quoted

VERSIONS: Final = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

_ATTACHED: Final = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
#: What each verb needs of the environment, and since which version there is such a verb.
_VERBS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "ADD": (_ATTACHED, "0.3.0"),
    "DEL": (("CNI_CONTAINERID", "CNI_IFNAME"), "0.3.0"),
    "CHECK": (_ATTACHED, "0.4.0"),
    "GC": ((), "1.1.0"),
    "STATUS": ((), "1.1.0"),
    "VERSION": ((), ""),
}
_LONGEST_INTERFACE: Final = 15
#: What precedes IPv4 in IPv4-mapped addresses (RFC 4291 2.5.5.2).
_MAPPED: Final = bytes(10) + b"\xff\xff"
#: The second key is of a draft, and libcni sends both (containernetworking/cni 1101).
_VALID: Final = ("cni.dev/valid-attachments", "cni.dev/attachments")
_PROTOCOLS: Final = ("tcp", "udp", "sctp")
#: The interface of the container goes by its index into the result's interfaces.
_NO_INDEX: Final = -1

Config = dict[str, Any]


class Mapped(NamedTuple):
    """A host port that is to lead to a container port."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str

    @property
    def spec(self) -> str:
        """As ``-p`` takes it."""
        host = f"{bracketed(self.host_ip)}:" if self.host_ip else ""
        return f"{host}{self.host_port}:{self.container_port}/{self.protocol}"


class Request(NamedTuple):
    """One call of the plugin, whose `config` is checked as far as every verb needs it."""

    verb: str
    environment: Mapping[str, str]
    config: Config

    @property
    def version(self) -> str:
        """The version of CNI that is spoken."""
        return str(self.config["cniVersion"])

    @property
    def network(self) -> str:
        """The CNI network's name."""
        return str(self.config["name"])

    @property
    def attachment(self) -> Attachment:
        """Whom the call is about."""
        container, interface = (self.environment[each] for each in _VERBS["DEL"][0])
        return Attachment(self.network, container, interface)

    @property
    def pod(self) -> str:
        """The pod's name, as Podman, CRI-O and containerd tell it; empty where they don't."""
        pairs = (each.partition("=") for each in self.environment.get("CNI_ARGS", "").split(";"))
        return {key: value for key, _, value in pairs}.get("K8S_POD_NAME", "")

    def text(self, key: str) -> str | None:
        """One of the plugin's own keys of the configuration."""
        value = self.config.get(key)
        if value is not None and not (isinstance(value, str) and value):
            raise CniError(INVALID_CONFIG, f"{key}: {value!r} is no text", "write one, or none")
        return value


def parse_request(environment: Mapping[str, str], text: bytes) -> Request:
    """The call, from environment and standard input. Raises `CniError`."""
    verb = environment.get("CNI_COMMAND", "")
    if verb not in _VERBS:
        why = f"{quoted(verb)} is none of {', '.join(_VERBS)}" if verb else "it is not set"
        raise CniError(
            INVALID_ENVIRONMENT, f"CNI_COMMAND: {why}", "container runtimes set it; see docs/cni.md"
        )
    needed, since = _VERBS[verb]
    unfit = [each for each in needed if not _FORMS[each](environment.get(each, ""))]
    if unfit:
        raise CniError(
            INVALID_ENVIRONMENT, f"{', '.join(unfit)}: missing or unusable", "the runtime sets them"
        )
    config = _decoded(text) if text.strip() or verb != "VERSION" else {}
    if verb != "VERSION":
        _refuse_version(verb, config.get("cniVersion", "0.1.0"), since)
        _refuse_name(config.get("name"))
    return Request(verb, environment, config)


def mappings(config: Config) -> list[Mapped]:
    """The capability ``portMappings`` (CNI's CONVENTIONS.md). Raises `CniError`."""
    runtime = config.get("runtimeConfig") or {}
    found = (runtime.get("portMappings") if isinstance(runtime, dict) else runtime) or []
    if not isinstance(found, list):
        raise CniError(INVALID_CONFIG, f"portMappings: {found!r} is no list")
    return [_mapped(each) for each in found]


def packed(ip: str) -> bytes:
    """An address however it is spelled, IPv4-mapped ones being IPv4; nothing of what is none."""
    for family in (AF_INET, AF_INET6):
        with suppress(OSError, ValueError):
            return inet_pton(family, ip).removeprefix(_MAPPED)
    return b""


def previous(config: Config) -> Config:
    """What the plugins before this one have made. Raises `CniError`."""
    found = config.get("prevResult")
    if not isinstance(found, dict):
        raise CniError(
            INVALID_CONFIG,
            "there is no prevResult: hostports publishes ports of what other plugins wire up",
            "put it behind an interface's plugin, as bridge, in the list of plugins",
        )
    return found


def addresses(result: Config, interface: str) -> list[str]:
    """The first address per family that the container has on its interface, IPv4 first."""
    found: dict[int, str] = {}
    for each in _objects(result, "ips"):
        ip = str(each.get("address", "")).partition("/")[0]
        if ip and _inside(result, each.get("interface"), interface):
            found.setdefault(6 if ":" in ip else 4, ip)
    return [found[version] for version in sorted(found)]


def host_interface(result: Config) -> str:
    """The host's interface behind which the container is. Raises `CniError`.

    The first one that is in no sandbox: the bridge, or the container's own virtual cable.
    """
    for each in _objects(result, "interfaces"):
        if not each.get("sandbox") and each.get("name"):
            return str(each["name"])
    raise CniError(
        INVALID_CONFIG,
        "prevResult names no interface of the host, as the container has none of it (macvlan, "
        "ipvlan), or its plugin doesn't tell",
        'if the host reaches the container, name the interface by which it does: "interface": "…"',
    )


def valid_attachments(request: Request) -> list[Attachment]:
    """The attachments that are still in use, of which GC leaves all as it is. Raises `CniError`.

    Of none that is left libcni makes null; where there is no list, nobody has said so.
    """
    given = {key: request.config[key] for key in _VALID if key in request.config}
    for key, found in given.items():
        if isinstance(found, list):
            return [_attachment(request.network, key, each) for each in found]
    if given and all(each is None for each in given.values()):
        return []
    raise CniError(
        INVALID_CONFIG,
        f"{_VALID[0]} is missing, or no list",
        "the runtime says which containers are left; `cnitool gc` does not",
    )


def _is_interface(text: str) -> bool:
    """Whether Linux takes it for an interface's name."""
    fits = 0 < len(text) <= _LONGEST_INTERFACE and text not in (".", "..")
    return fits and not any(each in "/:" or each.isspace() for each in text)


_FORMS: Final[dict[str, Callable[[str], bool]]] = {
    "CNI_CONTAINERID": is_name,
    "CNI_IFNAME": _is_interface,
    "CNI_NETNS": bool,
}


def _decoded(text: bytes) -> Config:
    try:
        found = loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(UNDECODABLE, f"the configuration is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CniError(UNDECODABLE, "the configuration is no JSON object")
    return found


def _refuse_version(verb: str, version: object, since: str) -> None:
    listed = ", ".join(VERSIONS)
    if version not in VERSIONS:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} is none of ours",
            f"write one of {listed}",
        )
    if VERSIONS.index(str(version)) < VERSIONS.index(since):
        raise CniError(INCOMPATIBLE_VERSION, f"CNI {version} has no {verb}, {since} brought it")


def _refuse_name(name: object) -> None:
    if not isinstance(name, str) or not is_name(name):
        raise CniError(INVALID_CONFIG, f"name: {name!r} is no network's name")


def _mapped(found: object) -> Mapped:
    if not isinstance(found, dict):
        raise CniError(INVALID_CONFIG, f"portMappings: {found!r} is no object")
    for key in ("hostPort", "containerPort"):
        port = found.get(key)
        if type(port) is not int or not 1 <= port <= 65535:
            raise CniError(INVALID_CONFIG, f"portMappings: {key} {port!r} is no port from 1 on")
    protocol = found.get("protocol") or "tcp"
    if not isinstance(protocol, str) or protocol.lower() not in _PROTOCOLS:
        words = ", ".join(_PROTOCOLS)
        raise CniError(INVALID_CONFIG, f"portMappings: protocol {protocol!r} is none of {words}")
    host_ip = found.get("hostIP") or ""
    # An interface, which the daemon would follow, is none: a runtime asks for what is there.
    if not isinstance(host_ip, str) or not (host_ip == "" or packed(host_ip)):
        raise CniError(INVALID_CONFIG, f"portMappings: hostIP {host_ip!r} is no address")
    return Mapped(host_ip, found["hostPort"], found["containerPort"], protocol.lower())


def _objects(result: Config, key: str) -> list[Config]:
    found = result.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise CniError(INVALID_CONFIG, f"prevResult: {key} is no list of objects")
    return found


def _inside(result: Config, index: object, interface: str) -> bool:
    """Whether an address is the container's: also if its plugin doesn't say which interface's."""
    known = _objects(result, "interfaces")
    if type(index) is not int or not _NO_INDEX < index < len(known):
        return True
    return known[index].get("name") == interface and bool(known[index].get("sandbox"))


def _attachment(network: str, key: str, found: object) -> Attachment:
    if isinstance(found, dict):
        container, interface = found.get("containerID"), found.get("ifname")
        if isinstance(container, str) and isinstance(interface, str):
            return Attachment(network, container, interface)
    raise CniError(INVALID_CONFIG, f"{key}: {found!r} is no attachment")

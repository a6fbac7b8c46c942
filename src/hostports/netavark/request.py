"""What Podman and netavark ask for, checked (netavark's plugin-API.md 1.0.0)."""

from collections.abc import Callable, Iterator
from json import loads
from typing import Any, Final, NamedTuple

from hostports.brackets import bracketed
from hostports.errors import UnusableValue

Config = dict[str, Any]

#: What we call the container's interface, as all that hostports wires up has it.
INTERFACE: Final = "eth0"
_SHORT_ID: Final = 12
#: Of a container's name: Podman's may be longer than ours.
_LONGEST_NAME: Final = 128 - 1 - _SHORT_ID
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise UnusableValue(text, "it is neither true nor false", "write one of them")
    return _FLAGS[text.lower()]


def _names(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


#: Options of `podman network create --opt`: the API's keys of a network.
_OPTIONS: Final[dict[str, Callable[[str], object]]] = {
    "gateway_mode_ipv4": str,
    "gateway_mode_ipv6": str,
    "host_ipv4": str,
    "host_ipv6": str,
    "icc": _flag,
    "masquerade": _flag,
    "trusted_host_interfaces": _names,
}


class Container(NamedTuple):
    """A container that is to be on a network, or to leave it."""

    config: Config

    @property
    def network(self) -> Config:
        """The network's configuration."""
        return _object(self.config, "network")

    @property
    def endpoint(self) -> str:
        """What its endpoint is called: a name may come back, with the ID it is one container's."""
        name, number = _text(self.config, "container_name"), _text(self.config, "container_id")
        return f"{name[:_LONGEST_NAME]}-{number[:_SHORT_ID]}"

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses that Podman has chosen, by the API's keys."""
        found = _object(self.config, "network_options").get("static_ips") or []
        if not isinstance(found, list):
            raise UnusableValue("static_ips", "it is no list", "netavark writes one")
        return {"ipv6" if ":" in ip else "ipv4": ip for ip in map(str, found)}

    def refuse_unfit(self) -> None:
        """Raise `UnusableValue` for an interface that we don't make as it is asked for."""
        options = _object(self.config, "network_options")
        name, mac = _text(options, "interface_name"), options.get("static_mac")
        if name != INTERFACE:
            raise UnusableValue(
                name, f"hostports calls it {INTERFACE}", "name its network first, and only one such"
            )
        if mac:
            raise UnusableValue(str(mac), "hostports chooses it", "leave --mac-address out")

    def specs(self) -> list[str]:
        """The ports as ``-p`` takes them."""
        return [spec for each in objects(self.config, "port_mappings") for spec in _specs(each)]


def decoded(text: bytes) -> Config:
    """The JSON object on standard input. Raises `UnusableValue`."""
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnusableValue(
            text[:40].decode(errors="replace"),
            "it is no JSON object",
            "netavark and Podman write one; see docs/netavark.md",
        )
    return found


def wanted_network(config: Config) -> tuple[str, Config]:
    """A network's name, and what is asked for of it as the API does. Raises `UnusableValue`."""
    asked: Config = {}
    if config.get("network_interface"):
        asked["bridge"] = _text(config, "network_interface")
    if subnets := [_text(each, "subnet") for each in objects(config, "subnets")]:
        asked["subnets"] = subnets
    if config.get("internal"):
        asked["internal"] = True
    for name, value in (_object(config, "options") if config.get("options") else {}).items():
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise UnusableValue(str(name), "there is no such option", f"there are {known}")
        asked[name] = _OPTIONS[name](str(value))
    return _text(config, "name"), asked


def _specs(mapping: Config) -> Iterator[str]:
    """A mapping is one of several protocols and a range of ports; 0 and 1 are a single port."""
    ip, last = str(mapping.get("host_ip") or ""), max(_number(mapping, "range"), 1) - 1
    host = f"{bracketed(ip)}:" if ip else ""
    ports = [_number(mapping, key) for key in ("host_port", "container_port")]
    first, inside = (f"{port}-{port + last}" if last else f"{port}" for port in ports)
    for protocol in str(mapping.get("protocol") or "tcp").split(","):
        yield f"{host}{first}:{inside}/{protocol}"


def objects(config: Config, key: str) -> list[Config]:
    """A list of objects, which may be missing. Raises `UnusableValue`."""
    found = config.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UnusableValue(key, "it is no list of JSON objects", "netavark writes one")
    return found


def _number(mapping: Config, key: str) -> int:
    found = mapping.get(key) or 0
    if not isinstance(found, int):
        raise UnusableValue(key, f"{found!r} is no number", "netavark writes one")
    return found


def _object(config: Config, key: str) -> Config:
    found = config.get(key)
    if not isinstance(found, dict):
        raise UnusableValue(key, "it is missing, or no JSON object", "netavark writes one")
    return found


def _text(config: Config, key: str) -> str:
    found = config.get(key)
    if not isinstance(found, str) or not found:
        raise UnusableValue(key, "it is missing, or no text", "Podman and netavark write one")
    return found

"""What the daemon is told: flags, which win over a TOML file, which wins over defaults."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from hostports.daemon.places import run_folder, state_folder
from hostports.errors import UnusableValue
from hostports.model.address import ANY_IPV4, IPAddress
from hostports.model.port import PortRange
from hostports.model.relay import RelaySettings


class FirewallChoice(Enum):
    """Who opens ports; AUTO is nftables where that works, else iptables."""

    AUTO = "auto"
    NFTABLES = "nftables"
    IPTABLES = "iptables"
    NONE = "none"


class Rootless(Enum):
    """Whether ports are forwarded by RootlessKit where the daemon runs inside it."""

    AUTO = "auto"
    OFF = "off"


class LogFormat(Enum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be chosen. `socket` and `group` are the API's; no socket: in `run`."""

    state: Path = field(default_factory=state_folder)
    run: Path = field(default_factory=run_folder)
    socket: Path | None = None
    group: str = ""
    firewall: FirewallChoice = FirewallChoice.AUTO
    rootless: Rootless = Rootless.AUTO
    relay: bool = True
    relay_settings: RelaySettings = field(default_factory=RelaySettings)
    default_host_ip: IPAddress = ANY_IPV4
    dynamic_range: PortRange | None = None
    allow_direct_routing: bool = False
    log_format: LogFormat = LogFormat.TEXT
    down_on_exit: bool = False

    @property
    def api_socket(self) -> Path:
        """Where the API listens unless systemd gives it a socket."""
        return self.socket or self.run / "api.sock"

    @property
    def relay_socket(self) -> Path:
        """Where the relay has its control socket."""
        return self.run / "relay.sock"

    @property
    def state_file(self) -> Path:
        """Where what is wanted is recorded."""
        return self.state / "state.sqlite3"


def load(flags: Mapping[str, object]) -> Config:
    """The configuration by flags, by their long names with ``_``, and the file that they name.

    Raises `UnusableValue`, which names the setting.
    """
    chosen = dict(flags)
    file = chosen.pop("config", None)
    settings = {**(_read(Path(str(file))) if file else {}), **chosen}
    if settings.pop("no_relay", False):
        settings["relay"] = False
    return replace(Config(), **{name: _converted(name, each) for name, each in settings.items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnusableValue(
            str(path), f"it can't be read: {error.strerror}", "name another file"
        ) from None
    except UnicodeDecodeError:
        raise UnusableValue(str(path), "it is no text in UTF-8", "name another file") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnusableValue(str(path), f"it is no TOML: {error}", "mend that line") from None


def _converted(name: str, value: object) -> Any:  # noqa: ANN401 - each setting has its type
    if name not in _CONVERTERS:
        names = ", ".join(sorted(_CONVERTERS))
        raise UnusableValue(name, "there is no such setting", f"the settings are {names}")
    try:
        return _CONVERTERS[name](value)
    except (OverflowError, TypeError, ValueError) as error:
        raise UnusableValue(
            f"{name} = {value}", str(error), "see `hostports daemon --help`"
        ) from None


def _port_range(value: object) -> PortRange:
    first, dash, last = str(value).partition("-")
    if not dash or not first.isdigit() or not last.isdigit():
        raise ValueError("it is no range such as 49152-65535")
    return PortRange(int(first), int(last))


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it is neither true nor false")
    return value


def _relay_settings(value: object) -> RelaySettings:
    known = {name: type(default) for name, default in asdict(RelaySettings()).items()}
    if not isinstance(value, dict):
        raise TypeError("it is no table of limits")
    for name, given in value.items():
        if name not in known:
            raise ValueError(f"the relay has no {name}, only {', '.join(known)}")
        if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
            raise ValueError(f"{name} is no number from 0 on")
    return RelaySettings(**{name: known[name](given) for name, given in value.items()})


_CONVERTERS: Final[Mapping[str, Callable[[object], object]]] = {
    "state": lambda value: Path(str(value)),
    "run": lambda value: Path(str(value)),
    "socket": lambda value: Path(str(value)),
    "group": str,
    "firewall": FirewallChoice,
    "rootless": Rootless,
    "relay": _yes_or_no,
    "relay_settings": _relay_settings,
    "default_host_ip": lambda value: ip_address(str(value)),
    "dynamic_range": _port_range,
    "allow_direct_routing": _yes_or_no,
    "log_format": LogFormat,
    "down_on_exit": _yes_or_no,
}

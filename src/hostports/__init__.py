"""Docker's port publishing (``-p``) for anything that has an IP address."""

# The names are imported when they are first used: the command line starts without the engine.
# Assigned instead of imported from typing, which costs a third of a bare interpreter's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostports.client.asynchronous import AsyncClient
    from hostports.client.sync import Client
    from hostports.core.spec import parse_spec
    from hostports.engine import Edges, Engine, PublishRequest
    from hostports.errors import HostportsError
    from hostports.model.network import BridgeNetwork, Endpoint, GatewayMode
    from hostports.model.port import (
        PortBinding,
        PortRange,
        PortSpec,
        Protocol,
        ProxyProtocol,
        PublishMode,
    )

__all__ = [
    "AsyncClient",
    "BridgeNetwork",
    "Client",
    "Edges",
    "Endpoint",
    "Engine",
    "GatewayMode",
    "HostportsError",
    "PortBinding",
    "PortRange",
    "PortSpec",
    "Protocol",
    "ProxyProtocol",
    "PublishMode",
    "PublishRequest",
    "parse_spec",
]

#: A constant, as to read the installed package's would take longer than all else at a start.
__version__ = "0.1.0.dev0"

_HOMES = {
    "hostports.client.asynchronous": {"AsyncClient"},
    "hostports.client.sync": {"Client"},
    "hostports.core.spec": {"parse_spec"},
    "hostports.engine": {"Edges", "Engine", "PublishRequest"},
    "hostports.errors": {"HostportsError"},
    "hostports.model.network": {"BridgeNetwork", "Endpoint", "GatewayMode"},
    "hostports.model.port": {
        "PortBinding",
        "PortRange",
        "PortSpec",
        "Protocol",
        "ProxyProtocol",
        "PublishMode",
    },
}


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - see above

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""``hostports network``: create, ls, inspect, rm."""

from typing import Final

from hostports.cli.output import Json, Line, Table
from hostports.cli.session import Session

#: Options that are sent as they are, and those that turn something off.
_OPTIONS: Final = (
    "bridge",
    "subnets",
    "gateway_mode_ipv4",
    "gateway_mode_ipv6",
    "host_ipv4",
    "host_ipv6",
    "internal",
    "trusted_host_interfaces",
    "existing_bridge",
    "ports_only",
)


def create(do: Session) -> int:
    """Create a network."""
    given = {name: value for name in _OPTIONS if (value := getattr(do.args, name))}
    if do.args.no_icc:
        given["icc"] = False
    if do.args.no_masquerade:
        given["masquerade"] = False
    return do.console.show(do.client.create_network(do.args.name, **given), _sentence)


def list_all(do: Session) -> int:
    """List the networks."""
    return do.console.show(do.client.networks(), table)


def inspect(do: Session) -> int:
    """Show a network."""
    return do.console.show(do.client.network(do.args.name), details)


def remove(do: Session) -> int:
    """Remove a network."""
    answer = do.client.remove_network(do.args.name, force=do.args.force)
    return do.console.show(answer, lambda _: [Line(f"network {do.args.name} removed")])


def table(document: Json) -> Table:
    """Networks in rows."""
    return Table(
        ("NAME", "BRIDGE", "SUBNETS", "IPV4", "IPV6", "OPTIONS"),
        [
            (
                each["name"],
                each["bridge"],
                ", ".join(each["subnets"]),
                each["gateway_mode_ipv4"],
                each["gateway_mode_ipv6"],
                ", ".join(_peculiarities(each)) or "-",
            )
            for each in document["networks"]
        ],
    )


def details(document: Json) -> Table:
    """One thing, a property a row; what is empty is left out."""
    rows = [(key.replace("_", " "), _said(value)) for key, value in document.items()]
    return Table(("PROPERTY", "VALUE"), [row for row in rows if row[1]])


def _sentence(network: Json) -> list[Line]:
    words = ", ".join([f"bridge {network['bridge']}", *network["subnets"]])
    return [Line(f"network {network['name']} created: {words}")]


def _peculiarities(network: Json) -> list[str]:
    said = {
        "internal": network.get("internal"),
        "no icc": not network.get("icc", True),
        "no masquerade": not network.get("masquerade", True) and not network.get("ports_only"),
        "existing bridge": network.get("existing_bridge") and not network.get("ports_only"),
        "ports only": network.get("ports_only"),
    }
    return [words for words, holds in said.items() if holds]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

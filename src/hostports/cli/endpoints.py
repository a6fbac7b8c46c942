"""``hostports endpoint``: add, ls, inspect, rm."""

import os

from hostports.cli.networks import details
from hostports.cli.output import Json, Line, Table
from hostports.cli.session import Session


def add(do: Session) -> int:
    """Add an endpoint."""
    names = ("netns", "pid", "addresses", "ipv4", "ipv6")
    given = {name: value for name in names if (value := getattr(do.args, name)) is not None}
    if "/" in given.get("netns", ""):  # the daemon's working directory is another one
        given["netns"] = os.path.abspath(given["netns"])  # noqa: PTH100 - pathlib is slow to import
    endpoint = do.client.add_endpoint(do.args.network, do.args.name, **given)
    return do.console.show(endpoint, _sentence)


def list_all(do: Session) -> int:
    """List the endpoints."""
    return do.console.show(do.client.endpoints(), table)


def inspect(do: Session) -> int:
    """Show an endpoint."""
    return do.console.show(do.client.endpoint(do.args.name), details)


def remove(do: Session) -> int:
    """Remove an endpoint."""
    answer = do.client.remove_endpoint(do.args.name)
    return do.console.show(answer, lambda _: [Line(f"endpoint {do.args.name} removed")])


def table(document: Json) -> Table:
    """Endpoints in rows."""
    return Table(
        ("NAME", "NETWORK", "ADDRESSES", "KIND", "NAMESPACE"),
        [
            (
                each["name"],
                each["network"],
                ", ".join(each["addresses"]),
                each["kind"],
                each["namespace"] or "-",
            )
            for each in document["endpoints"]
        ],
    )


def _sentence(endpoint: Json) -> list[Line]:
    addresses = ", ".join(endpoint["addresses"])
    return [Line(f"endpoint {endpoint['name']} added to {endpoint['network']}: {addresses}")]

"""``hostports publish``, ``unpublish``, ``ls``, ``port`` and ``plan``."""

from argparse import Namespace
from typing import Any

from hostports.cli import bindings
from hostports.cli.output import Json, Line
from hostports.cli.parser import UsageError
from hostports.cli.session import Session
from hostports.cli.specs import PROTOCOLS, check, is_port
from hostports.errors import NotFound, UnusableValue


def publish(do: Session) -> int:
    """Publish ports."""
    specs = _specs(do.args)
    answer = do.client.publish(
        do.args.endpoint, specs, **_options(do.args), wait_address=do.args.wait_address
    )
    return do.console.show(answer, bindings.lines)


def plan(do: Session) -> int:
    """Say what `publish` would do."""
    specs = _specs(do.args)
    return do.console.show(do.client.plan(do.args.endpoint, specs, **_options(do.args)), _plan)


def unpublish(do: Session) -> int:
    """Unpublish ports."""
    if bool(do.args.specs) == do.args.all:
        raise UsageError("what to unpublish is said by specs, or by --all", "give one of them")
    check(do.args.specs)
    answer = do.client.unpublish(
        do.args.endpoint, None if do.args.all else do.args.specs, kill=do.args.kill
    )
    return do.console.show(answer, _unpublished)


def list_all(do: Session) -> int:
    """List everything that is published."""
    return do.console.show(do.client.ports(), bindings.table)


def port(do: Session) -> int:
    """Show where an endpoint's ports are published, or one of them."""
    endpoint, wanted = do.args.endpoint, do.args.port
    number, protocol = _port(wanted) if wanted else (0, "")
    found = [
        each
        for each in do.client.ports(endpoint)["bindings"]
        if not wanted or (each["container_port"], each["proto"]) == (number, protocol)
    ]
    if not found:
        what = f"container port {number}/{protocol}" if wanted else "port"
        raise NotFound(
            f"endpoint {endpoint!r} publishes no {what}",
            f"`hostports ls` has all, `hostports endpoint inspect {endpoint}` what it follows",
        )
    return do.console.show({"bindings": found}, bindings.reached_at if wanted else bindings.lines)


def _specs(args: Namespace) -> list[str]:
    """What to publish: specs, those of a service in a compose file, or both."""
    specs: list[str] = list(args.specs)
    if args.compose:
        from hostports.cli.compose import specs_of  # noqa: PLC0415 - YAML is slow to import

        specs += specs_of(args.compose, args.service or args.endpoint)
    elif args.service:
        raise UsageError("--service is a service of a compose file", "name that with --compose")
    if not specs:
        raise UsageError("there is nothing to publish", "give a SPEC, or --compose FILE")
    check(specs)
    return specs


def _options(args: Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in ("mode", "allow_from", "proxy_protocol")}


def _port(text: str) -> tuple[int, str]:
    number, slash, protocol = text.partition("/")
    if not is_port(number):
        raise UnusableValue(text, "it is no container port", "write 80 or 80/tcp")
    if slash and protocol not in PROTOCOLS:
        raise UnusableValue(text, f"{protocol!r} is no protocol", "write tcp, udp or sctp")
    return int(number), protocol or PROTOCOLS[0]


def _plan(document: Json) -> list[Line]:
    shown = bindings.lines(document)
    for what in ("sockets", "rules"):
        if document[what]:
            shown.append(Line(f"{what}:", "bold"))
        for each in document[what]:
            shown += [Line(f"  {line}") for line in each.expandtabs(4).splitlines()]
    return shown


def _unpublished(document: Json) -> list[Line]:
    return [Line(f"unpublished {bindings.line(each)}") for each in document["bindings"]]

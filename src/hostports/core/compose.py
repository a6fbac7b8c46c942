"""The ``ports:`` of a service in a compose file -> port specs (the Compose Specification)."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from hostports.brackets import bracketed
from hostports.errors import UnusableValue

#: What YAML gives when every scalar stays the text that it is.
Node = Mapping[str, "Node"] | list["Node"] | str

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-?+])(?P<word>[^{}$]*))?\})?",
    re.ASCII,
)
#: The long form's keys; those that are only names, or for Swarm, don't change what is published.
_KNOWN: Final = {"target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"}

#: On one host they are the same.
_MODES: Final = ("", "host", "ingress")


def compose_specs(document: Node, service: str, variables: Mapping[str, str]) -> list[str]:
    """The specs of a service's ports, with `variables` in the place of ``${NAME}``.

    Raises `UnusableValue`, which names the word, the reason and the mend.
    """
    found = _service(document, service)
    ports = found.get("ports", "")
    if not ports:
        raise UnusableValue(service, "the service has no ports", "name another, or give it ports")
    if not isinstance(ports, list):
        raise UnusableValue(f"ports of {service}", "they are no list", "write each behind a dash")
    return [_spec(_filled_in(each, variables)) for each in ports]


def _service(document: Node, name: str) -> Mapping[str, Node]:
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise UnusableValue("services", "the file has none", "name a compose file")
    if name not in services:
        there = ", ".join(services) or "none"
        raise UnusableValue(name, "the file has no such service", f"the services are: {there}")
    service = services[name]
    if not isinstance(service, Mapping):
        return {}
    if "extends" in service:
        mend = "give the merged file: docker compose config > merged.yaml"
        raise UnusableValue(name, "it extends another service, which is not followed here", mend)
    return service


def _filled_in(node: Node, variables: Mapping[str, str]) -> Node:
    if isinstance(node, str):
        return "".join(_pieces(node, variables))
    if isinstance(node, list):
        return [_filled_in(each, variables) for each in node]
    return {key: _filled_in(each, variables) for key, each in node.items()}


def _pieces(text: str, variables: Mapping[str, str]) -> Iterator[str]:
    end = 0
    for found in _VARIABLE.finditer(text):
        yield text[end : found.start()]
        yield _value(text, found, variables)
        end = found.end()
    yield text[end:]


def _value(text: str, found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    name, operator, word = found["plain"] or found["name"], found["operator"] or "", found["word"]
    if not name:
        raise UnusableValue(text, "a $ is followed by no variable", "write $$ for a dollar sign")
    value = variables.get(name)
    given = value is not None and bool(value or not operator.startswith(":"))
    if operator.endswith("+"):
        return word if given else ""
    if given:
        return value or ""
    if operator.endswith("-"):
        return word
    reason = word or f"the variable {name} is not set"
    raise UnusableValue(text, reason, f"set {name}, or give a default: ${{{name}:-8080}}")


def _spec(port: Node) -> str:
    if isinstance(port, str):
        return port
    if isinstance(port, list):
        raise UnusableValue(str(port), "a list is no port", "write 8080:80")
    for key, value in port.items():
        if not isinstance(value, str):
            raise UnusableValue(key, "it has more than one value", "give it one")
        if key not in _KNOWN and not key.startswith("x-"):
            names = ", ".join(sorted(_KNOWN))
            raise UnusableValue(key, "a port has no such key", f"the keys are {names}")
    return _short({key: str(value) for key, value in port.items()})


def _short(port: Mapping[str, str]) -> str:
    """The long form as the short one spells it."""
    if not port.get("target"):
        raise UnusableValue(str(dict(port)), "a port's target is missing", "write target: 80")
    if port.get("mode", "") not in _MODES:
        raise UnusableValue(port["mode"], "a port has no such mode", "write host or ingress")
    host_ip, published = port.get("host_ip", ""), port.get("published", "")
    where = f"{bracketed(host_ip)}:" if host_ip else ""
    what = f"{published}:" if published or host_ip else ""
    return f"{where}{what}{port['target']}/{port.get('protocol') or 'tcp'}"

"""The values in nft's JSON: what is compared, with what, and the elements of sets and maps."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

from hostports.core.doctor.ruleset import (
    Act,
    Anything,
    Data,
    Key,
    Lookup,
    Pattern,
    Span,
    Stem,
    Verdict,
)
from hostports.model.address import IPAddress

Json: TypeAlias = Any
_VERDICTS: Final = {
    "accept": Act.ACCEPT,
    "drop": Act.DROP,
    "return": Act.RETURN,
    "continue": Act.NOTHING,
    "jump": Act.JUMP,
    "goto": Act.GOTO,
}


def key_of(left: Json) -> Key | None:
    """By what a packet is looked up, as ``("ip saddr", "tcp dport")``; None if we can't tell."""
    if not isinstance(left, dict):
        return None
    if "concat" in left:
        parts = [key_of(each) for each in left["concat"]]
        return None if None in parts else tuple(word for part in parts for word in part or ())
    ((kind, content),) = left.items()
    if kind == "&" and isinstance(content, list):
        return key_of(content[0])
    word = _word(kind, content)
    return (word,) if word else None


def _word(kind: str, content: Json) -> str:
    if kind == "payload" and "protocol" in content:
        return f"{content['protocol']} {content['field']}"
    if kind == "exthdr":
        return "exthdr"
    if kind == "meta":
        return f"meta {content['key']}"
    if kind == "ct":
        direction = f"{content['dir']} " if "dir" in content else ""
        return f"ct {direction}{content['key']}"
    if kind == "fib":
        return f"fib {_fib_flags(content['flags'])} {content['result']}"
    return ""


def _fib_flags(flags: Json) -> str:
    """In one order, whichever nft has them in."""
    said = {flags} if isinstance(flags, str) else set(flags)
    return ",".join(each for each in ("saddr", "daddr", "mark", "iif", "oif") if each in said)


def mask_of(left: Json) -> int | frozenset[str] | None:
    """What is left of a value before it is compared."""
    if not (isinstance(left, dict) and "&" in left):
        return None
    mask = left["&"][1]
    return mask if isinstance(mask, int) else frozenset(_flags(mask))


def _flags(mask: Json) -> list[str]:
    """Flags that are one or more, in a list or joined by ``|``."""
    if isinstance(mask, str):
        return [mask]
    parts = mask.get("|", []) if isinstance(mask, dict) else mask
    return [flag for part in parts for flag in _flags(part)]


def lookup(right: Json, sets: Mapping[str, Lookup]) -> Lookup | None:
    """With what it is compared: a value, a set of them, or one by its name; None if unknown."""
    if isinstance(right, str) and right.startswith("@"):
        return sets.get(right[1:])
    if isinstance(right, dict) and "set" in right:
        return elements(right["set"])
    if isinstance(right, dict) and "|" in right:
        return Lookup({(",".join(sorted(_flags(right))),): None})
    if isinstance(right, list):  # flags, of which one will do
        return Lookup({(str(each),): None for each in right})
    return elements([right])


def elements(listed: Json) -> Lookup:
    """The elements of a set or map."""
    found = Lookup()
    for each in listed if isinstance(listed, list) else [listed]:
        mapped = isinstance(each, list)
        try:
            patterns = tuple(map(_pattern, _parts(each[0] if mapped else each)))
        except (ValueError, KeyError, TypeError):
            found.known = False
            continue
        data = _data(each[1]) if mapped else None
        if all(isinstance(part, str | int) and not isinstance(part, bool) for part in patterns):
            found.exact[patterns] = data  # type: ignore[index] # just seen to be text and numbers
        else:
            found.loose.append((patterns, data))
    return found


def _parts(element: Json) -> list[Json]:
    if isinstance(element, dict) and "elem" in element:
        return _parts(element["elem"]["val"])
    if isinstance(element, dict) and "concat" in element:
        return list(element["concat"])
    return [element]


def _pattern(value: Json) -> Pattern:
    if isinstance(value, dict):
        if "prefix" in value:
            return ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}")
        first, last = value["range"]
        return Span(_ordered(first), _ordered(last))
    if value == "*":
        return Anything.ANYTHING
    if isinstance(value, str):
        return Stem(value[:-1]) if value.endswith("*") else value
    if isinstance(value, int):
        return value
    raise TypeError(value)


def _ordered(value: Json) -> int | IPAddress:
    return value if isinstance(value, int) else ip_address(value)


def _data(value: Json) -> Data:
    """What a map gives: a verdict, or a new destination."""
    if isinstance(value, dict) and "concat" in value:
        return target(*value["concat"])
    if isinstance(value, dict):
        ((word, content),) = value.items()
        if word in _VERDICTS:
            return Verdict(_VERDICTS[word], content["target"] if content else "")
    return target(value, None)


def target(address: Json, port: Json) -> Verdict:
    """A new destination; without an address the host's own, or one that we can't read."""
    try:
        ip = ip_address(address) if isinstance(address, str) else None
    except ValueError:
        ip = None
    return Verdict(Act.TRANSLATE, address=ip, port=port if isinstance(port, int) else None)

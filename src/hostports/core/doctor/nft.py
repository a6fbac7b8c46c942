"""What ``nft -j list ruleset`` says (libnftables-json(5)), read into the model.

What we don't know becomes a doubt: later versions of nft have more words than we have.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from hostports.core.doctor.nft_values import elements, key_of, lookup, mask_of, target
from hostports.core.doctor.ruleset import (
    Act,
    Branch,
    Chain,
    Key,
    Lookup,
    Match,
    Rule,
    Step,
    Table,
    Unknown,
    Verdict,
)

Json: TypeAlias = Any
#: Sets of a table, by name.
Sets: TypeAlias = Mapping[str, Lookup]

_CHAIN: Final = re.compile(r"^\s+chain (\S+) \{")
_TABLE: Final = re.compile(r"^table (\S+) (\S+) \{")
_HANDLE: Final = re.compile(r"^\s+(.*) # handle (\d+)$")
#: Statements that change nothing of a packet's way.
_HARMLESS: Final = {
    *("counter", "log", "ct helper", "ct timeout", "ct expectation", "flow", "dup", "last"),
    *("secmark", "masquerade", "snat", "comment"),
}
#: Statements that hold for some packets only, as many as come or as a list says.
_LIMITING: Final = {"limit", "quota", "ct count", "connlimit", "meter", "set", "map"}


def tables(listed: str, text: str) -> list[Table]:
    """All tables, from what nft says as JSON and, with ``-a``, as text: rules are shown by that."""
    said = json.loads(listed)["nftables"] if listed.strip() else []
    texts = rule_texts(text)
    found: dict[tuple[str, str], Table] = {}
    for each in said:
        if table := each.get("table"):
            found[table["family"], table["name"]] = Table(table["family"], table["name"])
    sets = _sets(said)
    for each in said:
        if chain := each.get("chain"):
            found[chain["family"], chain["table"]].chains[chain["name"]] = _chain(chain)
    for each in said:
        if rule := each.get("rule"):
            whose = rule["family"], rule["table"]
            shown = texts.get((*whose, rule["handle"])) or rule.get("comment") or "a rule"
            steps = tuple(_steps(rule.get("expr", []), sets[whose]))
            made = Rule(steps, shown, rule["handle"])
            found[whose].chains[rule["chain"]].rules.append(made)
    return list(found.values())


def rule_texts(text: str) -> dict[tuple[str, str, int], str]:
    """How nft writes each rule, by family, table and handle."""
    found: dict[tuple[str, str, int], str] = {}
    table, inside = ("", ""), False
    for line in text.splitlines():
        if begins := _TABLE.match(line):
            table, inside = (begins[1], begins[2]), False
        elif _CHAIN.match(line):
            inside = True
        elif line == "\t}":
            inside = False
        elif inside and (rule := _HANDLE.match(line)):
            found[*table, int(rule[2])] = rule[1]
    return found


def _sets(said: list[Json]) -> defaultdict[tuple[str, str], dict[str, Lookup]]:
    sets: defaultdict[tuple[str, str], dict[str, Lookup]] = defaultdict(dict)
    for each in said:
        if (one := each.get("set") or each.get("map")) is not None:
            sets[one["family"], one["table"]][one["name"]] = elements(one.get("elem", []))
    return sets


def _chain(listed: Json) -> Chain:
    return Chain(
        listed["name"],
        listed.get("hook", ""),
        int(listed.get("prio", 0)),
        Act.DROP if listed.get("policy") == "drop" else Act.ACCEPT,
        listed.get("type") == "nat",
        str(listed.get("dev", "")),
    )


def _steps(expressions: list[Json], sets: Sets) -> Iterator[Step]:
    for each in expressions:
        if isinstance(each, str):  # as nft before 1.0.6 writes what it has no words for
            yield Unknown(each)
            continue
        for word, content in each.items():
            yield from _step(word, content, sets)


def _step(word: str, content: Json, sets: Sets) -> Iterator[Step]:
    if word == "match":
        yield _test(content, sets)
    elif word == "vmap":
        yield _branch(content, sets)
    elif word in _PLAIN:
        yield Verdict(_PLAIN[word])
    elif word in ("jump", "goto"):
        yield Verdict(Act(word), content["target"])
    elif word in ("dnat", "redirect"):
        yield _translation(content or {}, sets)
    elif word == "mangle":
        yield from _mangled(content)
    elif word == "xt":
        yield from _foreign(content)
    elif word in _LIMITING:
        yield Unknown(word)
    elif word not in _HARMLESS:
        yield Verdict(Act.HAND_OVER)


_PLAIN: Final = {
    "accept": Act.ACCEPT,
    "drop": Act.DROP,
    "reject": Act.REJECT,
    "return": Act.RETURN,
    "continue": Act.NOTHING,
    "notrack": Act.UNTRACK,
}


def _foreign(content: Json) -> Iterator[Step]:
    """A part of iptables': older versions of nft don't say whether it asks or acts."""
    kind = content.get("type") if isinstance(content, dict) else None
    if kind != "target":
        yield Unknown("a match of iptables")
    if kind != "match":
        yield Verdict(Act.HAND_OVER)


def _test(match: Json, sets: Sets) -> Match | Unknown:
    key, mask = key_of(match["left"]), mask_of(match["left"])
    among = lookup(match["right"], sets)
    operator = match["op"]
    if key is None or among is None or operator not in ("==", "!=", "in", "<", ">", "<=", ">="):
        return Unknown(_words(match["left"]))
    if operator in ("<", ">", "<=", ">="):
        return Unknown(_words(match["left"]))
    return Match(key, among, operator == "!=", mask, whole=operator != "in")


def _branch(content: Json, sets: Sets) -> Branch | Unknown:
    key, among = key_of(content["key"]), lookup(content["data"], sets)
    if key is None or among is None:
        return Unknown(_words(content["key"]))
    return Branch(key, among)


def _translation(content: Json, sets: Sets) -> Step:
    """Where to; by a map, or at once. What we can't read leads nobody knows where."""
    address = content.get("addr")
    if isinstance(address, dict) and "map" in address:
        key, among = key_of(address["map"]["key"]), lookup(address["map"]["data"], sets)
        if key is not None and among is not None:
            return Branch(key, among)
    return target(address, content.get("port"))


def _mangled(content: Json) -> Iterator[Verdict]:
    if content.get("key") == {"meta": {"key": "mark"}}:
        value = content.get("value")
        yield Verdict(Act.MARK, mark=value if isinstance(value, int) else None)


def _words(expression: Json) -> str:
    """Something to call a condition by."""
    key: Key | None = key_of(expression)
    return " . ".join(key) if key else "something we don't know"

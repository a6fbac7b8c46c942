"""One case at a time: as the reference, different on purpose, or a failure."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from hostports import HostportsError, PortRange, parse_spec
from hostports import Protocol as Transport
from hostports.core.allocator import PortAllocator
from hostports.errors import UnusableValue
from tests.conformance.driver import Driver, Hosts, SkippedCase, dumped
from tests.conformance.outcome import outcome
from tests.conformance.predicates import PREDICATES
from tests.conformance.reference import WILDCARD, Json, Reference
from tests.conformance.reference_allocator import Allocator, Refused, unmapped

DIFFERENCES = Path(__file__).parent / "differences.toml"
#: Any that is like no other word of a spec.
ADDRESS = "192.0.2.99"


class Verdict(Enum):
    REFERENCE = "as the reference"
    ON_PURPOSE = "differ on purpose"
    FAILURE = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Judgement:
    """What became of a case; `complaints` say what is wrong, `differences` which rules held."""

    id: str
    verdict: Verdict
    complaints: tuple[str, ...] = ()
    differences: frozenset[str] = frozenset()


class Difference(NamedTuple):
    """A deliberate difference, as differences.toml has it."""

    name: str
    vectors: str
    when: str
    why: str
    instead: str


@cache
def differences() -> tuple[Difference, ...]:
    """All of differences.toml."""
    return tuple(
        Difference(**each) for each in tomllib.loads(DIFFERENCES.read_text())["difference"]
    )


def holding(case: Json, environment: Json, vectors: str) -> frozenset[str]:
    """The differences whose rule recognises the case's inputs."""
    return frozenset(
        each.name
        for each in differences()
        if each.vectors == vectors and PREDICATES[each.when](case, environment)
    )


def judge_mapping(case: Json, environment: Json, hosts: Hosts) -> Judgement:
    """A case of port_mappings: the engine beside the recording, or beside the amended model."""
    try:
        with hosts(case, environment) as kernel:
            driver = Driver(case, environment, kernel)
            if case["daemon_error"]:
                return _judgement(case, ["the port driver is not refused"])
            got = _outcomes(case, map(driver.step, case["steps"]))
    except SkippedCase:
        return Judgement(case["id"], Verdict.SKIPPED)
    except UnusableValue as refused:
        return _judgement(case, [] if case["daemon_error"] else [str(refused)])
    return _judge_outcomes(case, environment, got)


def _judge_outcomes(case: Json, environment: Json, got: list[Json | None]) -> Judgement:
    recorded = _outcomes(case, (step.get("expect") for step in case["steps"]))
    expected, names = recorded, holding(case, environment, "port_mappings")
    if names:
        expected = modelled_mapping(case, environment, names)
    modelled = modelled_mapping(case, environment)
    complaints = [*_compared("the model", modelled, recorded), *_compared("we", got, expected)]
    return _judgement(case, complaints, names if expected != recorded else frozenset())


def judge_modelled(case: Json, environment: Json, hosts: Hosts) -> list[str]:
    """What is wrong with a case that was never recorded: the engine beside the amended model."""
    with hosts(case, environment) as kernel:
        driver = Driver(case, environment, kernel)
        got = _outcomes(case, map(driver.step, case["steps"]))
    names = holding(case, environment, "port_mappings")
    return [*_compared("we", got, modelled_mapping(case, environment, names))]


def modelled_mapping(
    case: Json, environment: Json, fixes: frozenset[str] = frozenset()
) -> list[Json | None]:
    """What the model, with some differences, says of a case."""
    model = Reference(case, environment, fixes)
    return _outcomes(case, map(model.step, case["steps"]))


def _outcomes(case: Json, given: Iterable[Json | None]) -> list[Json | None]:
    forwardings: dict[int, tuple[Any, ...]] = {}
    return [
        outcome(expect, forwardings, adding=step["op"] == "add") if expect else None
        for step, expect in zip(case["steps"], given, strict=True)
    ]


def judge_allocator(case: Json, environment: Json) -> Judgement:
    """A sequence of port_allocator: the same operations on our allocator."""
    names = holding(case, environment, "port_allocator")
    dynamic = environment["dynamic_port_range"]
    recorded = [_recorded_operation(op["expect"]) for op in case["ops"]]
    modelled = _modelled(case, dynamic, strict=False)
    expected = _modelled(case, dynamic, strict=True) if names else recorded
    ours = PortAllocator()
    got = [
        _operation(partial(_on_ours, ours, op, PortRange(*dynamic)), op, partial(dumped, ours))
        for op in case["ops"]
    ]
    complaints = [*_compared("the model", modelled, recorded), *_compared("we", got, expected)]
    return _judgement(case, complaints, names if expected != recorded else frozenset())


def _modelled(case: Json, dynamic: Sequence[int], *, strict: bool) -> list[Json]:
    model = Allocator(dynamic)
    return [
        _operation(partial(_on_model, model, op, strict=strict), op, model.state)
        for op in case["ops"]
    ]


def _recorded_operation(expect: Json) -> Json:
    refused = bool(expect.get("error_any_of"))
    return {"port": expect.get("port"), "refused": refused, "state": expect["state"]}


def _operation(act: Callable[[], int | None], op: Json, state: Callable[[], Json]) -> Json:
    """What an operation gave; releasing what can't even be named is no effect, not an error."""
    port, refused = None, False
    try:
        port = act()
    except (Refused, HostportsError, ValueError):
        refused = not op["op"].startswith("release")
    return {"port": port, "refused": refused, "state": state()}


def _on_model(model: Allocator, op: Json, *, strict: bool) -> int | None:
    if op["op"] == "release_all":
        model.release_all()
        return None
    if op["op"] == "release":
        model.release(op["ip"] or WILDCARD[4], op["proto"], op["port"])
        return None
    ips, start, end = _asked(op)
    if strict and (start or end) and not 0 < start <= end <= 65535:
        raise Refused("invalid_port_range")
    return model.request(ips, op["proto"], start, end)


def _on_ours(ours: PortAllocator, op: Json, dynamic: PortRange) -> int | None:
    if op["op"] == "release_all":
        ours.release_all()
        return None
    if op["op"] == "release":
        ours.release(Transport(op["proto"]), unmapped(op["ip"] or WILDCARD[4]), op["port"])
        return None
    ips, start, end = _asked(op)
    ports = PortRange(start, end) if start or end else dynamic
    return ours.allocate(Transport(op["proto"]), [unmapped(ip) for ip in ips], ports)


def _asked(op: Json) -> tuple[list[str], int, int]:
    """Addresses, start and end; the calls for one address take a missing one as 0.0.0.0."""
    ips = op["ips"] if "ips" in op else [op["ip"] or WILDCARD[4]]
    start: int = op["start"] if "start" in op else op["port"]
    return ips, start, op.get("end", start)


def judge_spec(case: Json) -> Judgement:
    """A text or list of texts of port_specs."""
    names = holding(case, {}, "port_specs")
    recorded = _recorded_specs(case)
    expected = _expected_specs(case, names, recorded)
    complaints = _compared("we", [_our_specs(case)], [expected])
    return _judgement(case, complaints, names if expected != recorded else frozenset())


def _recorded_specs(case: Json) -> Json:
    if case["error"]:
        return {"refused": True}
    if "specs" in case:
        by_port = case["bindings"]
        return {
            port: [(each["host_ip"], each["host_port"]) for each in by_port[port]]
            for port in case["exposed"]
        }
    bindings = [each["daemon_binding"] for each in case["mappings"]]
    fields = ("proto", "container_port", "host_ip", "host_port", "host_port_end")
    return {"bindings": [tuple(each[name] for name in fields) for each in bindings]}


def _expected_specs(case: Json, names: frozenset[str], recorded: Json) -> Json:
    """With an interface, what the same text gives with an address in its place, which is judged."""
    if names != {"interfaces"}:
        return {"refused": True} if names else recorded
    interface, _, rest = case["spec"].partition(":")
    expected = _our_specs({"spec": f"{ADDRESS}:{rest}"})
    if "bindings" in expected:
        expected["bindings"] = [
            tuple(interface if value == ADDRESS else value for value in each)
            for each in expected["bindings"]
        ]
    return expected


def _our_specs(case: Json) -> Json:
    try:
        if "specs" in case:
            return _our_list(case["specs"])
        specs = parse_spec(case["spec"])
    except UnusableValue:
        return {"refused": True}
    return {
        "bindings": [
            (
                each.protocol.value,
                each.container_port,
                each.interface or (each.host_ip and str(each.host_ip)),
                each.host_ports.first if each.host_ports else 0,
                each.host_ports.last if each.host_ports else 0,
            )
            for each in specs
        ]
    }


def _our_list(texts: Sequence[str]) -> Json:
    by_port: Json = {}
    for spec in (each for text in texts for each in parse_spec(text)):
        binding = (str(spec.host_ip or ""), str(spec.host_ports or ""))
        by_port.setdefault(f"{spec.container_port}/{spec.protocol.value}", []).append(binding)
    return by_port


def _compared(who: str, got: Sequence[Any], expected: Sequence[Any]) -> Iterator[str]:
    """A line for each step and field that is not as expected."""
    for number, (one, other) in enumerate(zip(got, expected, strict=True)):
        fields = {*(one or {}), *(other or {})}
        for field in sorted(fields):
            ours, theirs = (one or {}).get(field), (other or {}).get(field)
            if ours != theirs:
                yield f"step {number}, {field}: {who} gave {ours}, expected {theirs}"


def _judgement(
    case: Json, complaints: Iterable[str], names: frozenset[str] = frozenset()
) -> Judgement:
    told = tuple(complaints)
    if told:
        return Judgement(case["id"], Verdict.FAILURE, told, names)
    return Judgement(case["id"], Verdict.ON_PURPOSE if names else Verdict.REFERENCE, (), names)

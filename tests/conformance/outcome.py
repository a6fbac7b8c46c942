"""What is compared of a step: the recording, the model and the engine all come to this form.

The number of firewall calls, and how the groups of a request take turns, don't count. What was
called, in which order of its kind, in which order the kinds reached each binding, and what was
undone does.
"""

from collections import Counter, defaultdict
from typing import Any

from tests.conformance.reference import Json

#: Calls that take back; in a failed request their order is the implementation's.
_UNDOING = ("fw.del_ports", "proxy.stop", "portdriver.remove")

_BINDING = ("proto", "host_ip", "host_port", "container_ip", "container_port")
_RESULT = (*_BINDING, "child_host_ip", "bound_socket", "proxy_running", "rootlesskit_unsupported")
_SOCKET = ("proto", "ip", "port", "listening", "reuseaddr", "v6only", "pktinfo")
_FORWARDING = ("proto", "parent_ip", "parent_port", "child_ip", "child_port")
_START = (*_BINDING, "listen_socket", "socket_listening")


def outcome(expect: Json, forwardings: dict[int, tuple[Any, ...]], *, adding: bool) -> Json:
    """The comparable form of what a step gave; `forwardings` carries ids from step to step."""
    if expect.get("skipped"):
        return {"skipped": True}
    error = expect["error"] and expect["error"]["kind"]
    calls = _calls(expect["trace"], forwardings, adding=adding)
    if error:
        calls |= {kind: sorted(calls[kind]) for kind in _UNDOING if kind in calls}
    return {
        "error": error,
        "bindings": [_fields(each, _RESULT) for each in expect.get("bindings") or []],
        "calls": {kind: made for kind, made in calls.items() if made},
        "reached": _reached(expect["trace"]),
        "sockets": sorted((_fields(each, _SOCKET) for each in expect["sockets"]), key=str),
        "allocator": expect["allocator_state"],
    }


def _calls(trace: list[Json], forwardings: dict[int, tuple[Any, ...]], *, adding: bool) -> Json:
    """The calls by kind, in order, those for several bindings one by one."""
    calls: dict[str, list[Any]] = defaultdict(list)
    opened: Counter[tuple[Any, ...]] = Counter()
    for call in trace:
        failed = bool(call.get("error"))
        match call["op"]:
            case "fw.add_ports":
                added = [_fields(each, _BINDING) for each in call["bindings"]]
                if not failed:
                    opened.update(added)
                calls["fw.add_ports"] += [(*each, failed) for each in added]
            case "fw.del_ports":
                for each in call["bindings"]:
                    deleted = _fields(each, _BINDING)
                    # The reference, when it undoes, also deletes what it never added.
                    if opened[deleted] or not adding:
                        calls["fw.del_ports"].append(deleted)
                        opened[deleted] -= 1
            case "proxy.start":
                calls["proxy.start"].append((*_fields(call, _START), failed))
            case "proxy.stop":
                calls["proxy.stop"].append(_fields(call, _BINDING))
            case "portdriver.add":
                forwarding = _fields(call, _FORWARDING)
                forwardings[call["id"]] = forwarding
                calls["portdriver.add"].append((*forwarding, failed))
            case "portdriver.remove":
                calls["portdriver.remove"].append(forwardings[call["id"]])
    return dict(calls)


def _reached(trace: list[Json]) -> Json:
    """For each binding, by its socket, the order in which the adding calls reached it."""
    reached: dict[str, list[str]] = defaultdict(list)
    for call in trace:
        match call["op"]:
            case "fw.add_ports":
                sockets = [
                    (each["proto"], each["host_ip"], each["host_port"]) for each in call["bindings"]
                ]
            case "proxy.start":
                sockets = [_fields(call, _BINDING[:3])]
            case "portdriver.add":
                child_ip = call["child_ip"].removeprefix("::ffff:")
                sockets = [(call["proto"][:-1], child_ip, call["child_port"])]
            case _:
                sockets = []
        for socket in sockets:
            reached[str(socket)].append(call["op"])
    return dict(reached)


def _fields(entry: Json, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in names)

"""The rules of differences.toml: which cases a difference concerns, by their inputs alone."""

import re
from collections.abc import Callable, Iterator
from itertools import combinations, groupby
from typing import Final

from tests.conformance.reference import (
    LOOPBACK,
    WILDCARD,
    Json,
    group_key,
    order,
    version,
    with_end,
)
from tests.conformance.reference_allocator import PROTOCOLS, unmapped


def several_groups_in_one_request(case: Json, environment: Json) -> bool:
    return any(len(list(groups(step))) > 1 for step in adds(case))


def a_relay_start_fails(case: Json, environment: Json) -> bool:
    return any(step["faults"].get("proxy_start") for step in adds(case))


def deleting_from_the_firewall_fails(case: Json, environment: Json) -> bool:
    return any(step.get("faults", {}).get("fw_del_ports") for step in case["steps"])


def a_failure_that_no_other_port_mends(case: Json, environment: Json) -> bool:
    """A range or dynamic port, and a failure that is not "in use"."""
    return any(
        not exact(binding)
        and (
            any(
                step["faults"].get(call)
                for call in ("fw_add_ports", "port_driver_add", "proxy_start")
            )
            or not all(
                on_host(child_ip(ip, case, environment), case, environment)
                for ip in host_ips(binding, step)
            )
        )
        for step in adds(case)
        for binding in step["bindings"]
    )


def a_port_of_a_range_is_held_by_another_socket(case: Json, environment: Json) -> bool:
    held = [step["busy"] for step in case["steps"] if step["op"] == "occupy"]
    return any(
        not exact(binding)
        and any(
            busy["proto"] == binding["proto"] and busy["port"] in ports(binding, environment)
            for busy in held
        )
        for step in adds(case)
        for binding in step["bindings"]
    )


def bindings_of_one_group_overlap(case: Json, environment: Json) -> bool:
    return any(
        overlapping(one, other)
        for step in adds(case)
        for group in groups(step)
        for pair in combinations(group, 2)
        for one in host_ips(pair[0], step)
        for other in host_ips(pair[1], step)
    )


def host_addresses_share_a_child_address(case: Json, environment: Json) -> bool:
    if not forwards(case, environment):
        return False
    used = {
        ip for step in adds(case) for binding in step["bindings"] for ip in host_ips(binding, step)
    }
    return any(version(one) == version(other) for one, other in combinations(used, 2))


def rootlesskit_cannot_forward_a_binding(case: Json, environment: Json) -> bool:
    if not forwards(case, environment):
        return False
    can = environment["rootlesskit"][case["daemon"]["rootlesskit"]]["protos"]
    return any(
        f"{binding['proto']}{version(ip)}" not in can
        for step in adds(case)
        for binding in step["bindings"]
        for ip in host_ips(binding, step)
    )


def the_child_address_is_the_network_drivers(case: Json, environment: Json) -> bool:
    kind = environment["rootlesskit"].get(case["daemon"]["rootlesskit"], {})
    return bool(kind.get("disallow_loopback_child_ip"))


def an_sctp_port(case: Json, environment: Json) -> bool:
    return any(binding["proto"] == "sctp" for step in adds(case) for binding in step["bindings"])


def a_udp_port(case: Json, environment: Json) -> bool:
    return any(binding["proto"] == "udp" for step in adds(case) for binding in step["bindings"])


def an_unusable_binding(case: Json, environment: Json) -> bool:
    return any(
        binding["proto"] not in PROTOCOLS
        or unusable(binding["host_port"], binding["host_port_end"] or binding["host_port"])
        for step in adds(case)
        for binding in step["bindings"]
    )


def an_unusable_port(case: Json, environment: Json) -> bool:
    return any(
        unusable(op.get("start", op.get("port", 0)), op.get("end", op.get("port", 0)))
        for op in case["ops"]
    )


def a_sloppy_spec(case: Json, environment: Json) -> bool:
    """Two dashes, two slashes, or a host range from 0, in any of the case's texts."""
    texts = case["specs"] if "specs" in case else [case["spec"]]
    for text in texts:
        head, _, container = text.rpartition(":")
        host = head.rpartition(":")[2]
        numbers, _, protocol = container.partition("/")
        from_zero = host.strip("0").startswith("-") and host.strip("0-")
        if numbers.count("-") > 1 or host.count("-") > 1 or "/" in protocol or from_zero:
            return True
    return False


def an_interface(case: Json, environment: Json) -> bool:
    """A word that is no address, but may be an interface's name, before two colons."""
    word, *others = case.get("spec", "").split(":")
    return (
        len(others) == 2
        and re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", word) is not None
        and word not in ("localhost", *PROTOCOLS)
    )


#: Outside calls that publishing makes.
ADDING: Final = ("fw_add_ports", "port_driver_add", "proxy_start")

Predicate = Callable[[Json, Json], bool]

PREDICATES: Final[dict[str, Predicate]] = {
    rule.__name__: rule
    for rule in (
        several_groups_in_one_request,
        a_relay_start_fails,
        deleting_from_the_firewall_fails,
        a_failure_that_no_other_port_mends,
        a_port_of_a_range_is_held_by_another_socket,
        bindings_of_one_group_overlap,
        host_addresses_share_a_child_address,
        rootlesskit_cannot_forward_a_binding,
        the_child_address_is_the_network_drivers,
        an_sctp_port,
        a_udp_port,
        an_unusable_binding,
        an_unusable_port,
        a_sloppy_spec,
        an_interface,
    )
}


def adds(case: Json) -> list[Json]:
    return [step for step in case["steps"] if step["op"] == "add"]


def groups(step: Json) -> Iterator[list[Json]]:
    """The bindings of a request that share a host port."""
    asked = sorted((with_end(each) for each in step["bindings"]), key=order)
    for _, group in groupby(asked, key=group_key):
        yield list(group)


def exact(binding: Json) -> bool:
    return binding["host_port"] != 0 and binding["host_port_end"] in (0, binding["host_port"])


def ports(binding: Json, environment: Json) -> range:
    first, last = binding["host_port"], binding["host_port_end"]
    if not first and not last:
        first, last = environment["dynamic_port_range"]
    return range(first, last + 1)


def host_ips(binding: Json, step: Json) -> list[str]:
    """The host addresses that a binding may mean; that of a routed family is the wildcard."""
    given = binding["host_ip"] or step["default_host_ip"] or WILDCARD[4]
    if not binding["host_ip"] and given == WILDCARD[4]:
        return [*WILDCARD.values()]
    of = version(given)
    routed = step["network"][f"gw_mode_ipv{of}"] == "routed"
    return [WILDCARD[of] if routed else str(unmapped(given))]


def overlapping(one: str, other: str) -> bool:
    return version(one) == version(other) and (
        one == other or WILDCARD[version(one)] in (one, other)
    )


def on_host(ip: str, case: Json, environment: Json) -> bool:
    if ip in WILDCARD.values():
        return True
    there = environment["host_addresses_ipv4"]
    there = there + (environment["host_addresses_ipv6"] if case["host"]["ipv6"] else [])
    return unmapped(ip) in {unmapped(each.partition("/")[0]) for each in there}


def child_ip(host_ip: str, case: Json, environment: Json) -> str:
    """Where the socket for a host address is bound."""
    if not forwards(case, environment):
        return host_ip
    kind = environment["rootlesskit"][case["daemon"]["rootlesskit"]]
    if kind["disallow_loopback_child_ip"]:
        return str(kind["network_driver_child_ip"])
    return LOOPBACK[version(host_ip)]


def forwards(case: Json, environment: Json) -> bool:
    kind = environment["rootlesskit"].get(case["daemon"]["rootlesskit"], {})
    return kind.get("port_driver") not in (None, "none", "implicit")


def unusable(first: int, last: int) -> bool:
    return (first, last) != (0, 0) and not 0 < first <= last <= 65535

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.cni.errors import CniError
from hostports.cni.names import Attachment, strays, tag_of
from hostports.cni.request import VERSIONS, Mapped, addresses, host_interface, mappings
from hostports.model.network import refuse_unusable_name
from tests.cni.calls import PORT, RESULT, Json, call, configuration, environment

NOWHERE = Path("/nowhere/api.sock")
VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_that_is_asked_for_is_repeated_with_those_that_are_spoken(version: str) -> None:
    said = call(environment("VERSION"), {"cniVersion": version})
    assert said.document == {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def test_versions_are_told_to_who_says_none() -> None:
    assert call({"CNI_COMMAND": "VERSION"}, b"").document["cniVersion"] == VERSIONS[-1]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "VERSION"])
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "1.2.0", "2.0.0", "", 1, None])
def test_another_version_is_incompatible(verb: str, version: object) -> None:
    said = call(environment(verb), configuration(NOWHERE, PORT, cniVersion=version))
    assert said.code == 1
    assert repr(version) in said.message


@pytest.mark.parametrize(
    ("verb", "before"),
    [
        ("CHECK", "0.3.1"),
        ("GC", "0.4.0"),
        ("GC", "1.0.0"),
        ("STATUS", "0.3.0"),
        ("STATUS", "1.0.0"),
    ],
)
def test_a_verb_that_a_version_has_not_is_refused(verb: str, before: str) -> None:
    said = call(environment(verb), configuration(NOWHERE, cniVersion=before))
    assert said.code == 1
    assert said.document["cniVersion"] == before


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        *((verb, name) for verb in ("ADD", "CHECK") for name in environment("ADD")),
        ("DEL", "CNI_CONTAINERID"),
        ("DEL", "CNI_IFNAME"),
    ],
)
def test_what_is_missing_in_the_environment_is_named(verb: str, missing: str) -> None:
    if missing == "CNI_PATH":  # nobody else is called
        return
    env = environment(verb)
    del env[missing]
    said = call(env, configuration(NOWHERE, prevResult=RESULT))
    assert said.code == 4
    assert missing in said.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", "-web"),
        ("CNI_CONTAINERID", "web/1"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "eth/0"),
        ("CNI_IFNAME", "sixteen-letters-"),
    ],
)
def test_what_is_unusable_in_the_environment_is_named(name: str, value: str) -> None:
    said = call(environment("ADD", **{name: value}), configuration(NOWHERE, prevResult=RESULT))
    assert said.code == 4
    assert name in said.message


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_can_not_be_decoded(text: bytes) -> None:
    assert call(environment("ADD"), text).code == 6


@pytest.mark.parametrize("name", [None, "", "-net", "a/b", 7])
def test_a_network_without_a_name_is_refused(name: object) -> None:
    assert call(environment("ADD"), configuration(NOWHERE, name=name)).code == 7


@pytest.mark.parametrize(
    "port",
    [
        {"hostPort": 0, "containerPort": 80},
        {"hostPort": -1, "containerPort": 80},
        {"hostPort": 65536, "containerPort": 80},
        {"hostPort": 8080},
        {"hostPort": 8080, "containerPort": 0},
        {"hostPort": "8080", "containerPort": 80},
        {"hostPort": True, "containerPort": 80},
        {"hostPort": 8080, "containerPort": 80, "protocol": "icmp"},
        {"hostPort": 8080, "containerPort": 80, "protocol": 6},
        {"hostPort": 8080, "containerPort": 80, "hostIP": 1},
        {"hostPort": 8080, "containerPort": 80, "hostIP": "eth0"},
        "8080:80",
    ],
)
def test_a_port_that_is_none_is_refused_before_anybody_is_asked(port: Any) -> None:  # noqa: ANN401 - JSON
    """The portmap plugin refuses host port 0 as well."""
    said = call(environment("ADD"), configuration(NOWHERE, port, prevResult=RESULT))
    assert said.code == 7
    assert "portMappings" in said.message


@pytest.mark.parametrize(
    ("port", "spec"),
    [
        (PORT, "8080:80/tcp"),
        ({**PORT, "protocol": "UDP", "hostIP": "127.0.0.1"}, "127.0.0.1:8080:80/udp"),
        ({**PORT, "hostIP": "::1"}, "[::1]:8080:80/tcp"),
        ({"hostPort": 1, "containerPort": 65535}, "1:65535/tcp"),
        ({**PORT, "hostIP": "", "protocol": "sctp"}, "8080:80/sctp"),
    ],
)
def test_a_mapping_is_a_spec(port: Json, spec: str) -> None:
    (found,) = mappings({"runtimeConfig": {"portMappings": [port]}})
    assert found.spec == spec


@pytest.mark.parametrize("config", [{}, {"runtimeConfig": None}, {"runtimeConfig": {}}])
def test_no_mappings_are_none(config: Json) -> None:
    assert mappings(config) == []


def test_the_containers_own_addresses_are_taken_the_first_of_each_family() -> None:
    ips = [
        {"interface": 0, "address": "10.88.0.1/16"},
        {"interface": 2, "address": "fd88::2/64"},
        {"interface": 2, "address": "10.88.0.2/16"},
        {"interface": 2, "address": "10.88.0.3/16"},
    ]
    assert addresses({**RESULT, "ips": ips}, "eth0") == ["10.88.0.2", "fd88::2"]
    assert addresses({"ips": [{"version": "4", "address": "10.88.0.2/16"}]}, "eth0") == [
        "10.88.0.2"
    ]


def test_the_hosts_interface_is_the_first_that_is_in_no_sandbox() -> None:
    assert host_interface(RESULT) == "cni0"
    assert host_interface({"interfaces": RESULT["interfaces"][1:]}) == "veth0"
    with pytest.raises(CniError, match="macvlan"):
        host_interface({"interfaces": RESULT["interfaces"][2:]})


identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}", fullmatch=True)
attachments = st.builds(Attachment, identifiers, identifiers, st.sampled_from(["eth0", "net1"]))


@given(attachments, st.text(max_size=200))
def test_an_endpoint_is_known_by_its_name_whatever_its_pod_is_called(
    attachment: Attachment, pod: str
) -> None:
    name = attachment.endpoint(pod, "b3f1")
    refuse_unusable_name(name)
    assert tag_of(name) == attachment.tag("b3f1")


@given(st.lists(attachments, unique=True), st.lists(attachments), st.data())
def test_strays_are_those_of_the_network_that_are_not_valid(
    there: list[Attachment], more: list[Attachment], data: st.DataObject
) -> None:
    names = {each.endpoint("", "b3f1"): each for each in there}
    network = data.draw(st.sampled_from([each.network for each in there])) if there else "n"
    valid = {each for each in (*there[::2], *more) if each.network == network}
    gone = {names[each] for each in strays([*names, "web", "cni-web"], network, valid)}
    assert gone == {each for each in there if each.network == network} - valid


@given(st.sampled_from(VERBS), st.dictionaries(st.text(max_size=8), json_values), json_values)
def test_any_configuration_is_answered_with_a_result_or_an_error(
    verb: str, more: Json, ports: object
) -> None:
    config = configuration(NOWHERE, prevResult=RESULT, runtimeConfig={"portMappings": ports})
    said = call(environment(verb), {**config, **more})
    assert said.status == 0 or said.code


@given(st.dictionaries(st.sampled_from(["ips", "interfaces", "x"]), json_values))
def test_any_previous_result_is_used_or_refused(result: Json) -> None:
    said = call(environment("ADD"), configuration(NOWHERE, PORT, prevResult=result))
    assert said.code in (7, 11)


def test_a_mapping_prints_as_it_is_asked_for() -> None:
    assert Mapped("", 8080, 80, "tcp").spec == "8080:80/tcp"

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.core.compose import Node, compose_specs
from hostports.core.spec import parse_spec
from hostports.errors import UnusableValue
from hostports.model.port import PortSpec
from tests.strategies import port_specs


def specs(*ports: Node, **variables: str) -> list[str]:
    return compose_specs({"services": {"web": {"ports": list(ports)}}}, "web", variables)


@given(st.lists(port_specs(), min_size=1))
def test_the_long_form_means_what_the_short_one_means(wanted: list[PortSpec]) -> None:
    read = [each for text in specs(*map(long_form, wanted)) for each in parse_spec(text)]
    assert read == wanted


def long_form(spec: PortSpec) -> Mapping[str, Node]:
    form: dict[str, Node] = {"target": str(spec.container_port), "protocol": spec.protocol.value}
    if spec.host_ports:
        first, last = spec.host_ports.first, spec.host_ports.last
        form["published"] = str(first) if first == last else f"{first}-{last}"
    if spec.host_ip or spec.interface:
        form["host_ip"] = str(spec.host_ip or spec.interface)
    return form


def test_the_short_form_is_a_spec_already() -> None:
    short = ["3000", "3000-3005", "127.0.0.1:5000-5010:5000-5010", "6060:6060/udp", "[::1]::80"]
    assert specs(*short) == short


def test_keys_that_are_names_or_for_swarm_change_nothing() -> None:
    port = {"target": "80", "name": "web", "mode": "host", "app_protocol": "http", "x-y": ""}
    assert specs(port) == specs({**port, "mode": "ingress"}) == ["80/tcp"]


@pytest.mark.parametrize(
    ("text", "variables", "found"),
    [
        ("$P:80", {"P": "8080"}, "8080:80"),
        ("${P}:80", {"P": "8080"}, "8080:80"),
        ("${P:-8080}:80", {}, "8080:80"),
        ("${P:-8080}:80", {"P": ""}, "8080:80"),
        ("${P-8080}:80", {"P": ""}, ":80"),
        ("${P-8080}:80", {"P": "1"}, "1:80"),
        ("${P:+127.0.0.1:}80:80", {"P": "1"}, "127.0.0.1:80:80"),
        ("${P:+127.0.0.1:}80:80", {"P": ""}, "80:80"),
        ("${P+127.0.0.1:}80:80", {"P": ""}, "127.0.0.1:80:80"),
        ("${P:?say which}:80", {"P": "1"}, "1:80"),
        ("$${P}", {}, "${P}"),
    ],
)
def test_variables_are_filled_in(text: str, variables: dict[str, str], found: str) -> None:
    assert specs(text, **variables) == [found]
    assert specs({"target": text}, **variables) == [f"{found}/tcp"]


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("${P}:80", "'${P}:80': the variable P is not set"),
        ("${P:?say which}:80", "'${P:?say which}:80': say which"),
        ("${P:?say which}:80", "say which"),
        ("$:80", "'$:80': a $ is followed by no variable"),
        ("${1}:80", "a $ is followed by no variable"),
        ([], "'[]': a list is no port"),
        ({"published": "80"}, "a port's target is missing"),
        ({"target": ["80"]}, "'target': it has more than one value"),
        ({"target": "80", "publish": "8080"}, "'publish': a port has no such key"),
        ({"target": "80", "mode": "swarm"}, "'swarm': a port has no such mode"),
        ({"target": "80", "mode": "${M:-bridge}"}, "'bridge': a port has no such mode"),
    ],
)
def test_what_is_no_port_is_refused_by_name(port: Node, said: str) -> None:
    with pytest.raises(UnusableValue) as refusal:
        specs(port)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "'services': the file has none"),
        ({"services": ["web"]}, "'services': the file has none"),
        ({"services": {"db": {}}}, "'web': the file has no such service; the services are: db"),
        ({"services": {"web": {"image": "nginx"}}}, "'web': the service has no ports"),
        ({"services": {"web": ""}}, "'web': the service has no ports"),
        ({"services": {"web": {"ports": "80"}}}, "'ports of web': they are no list"),
        ({"services": {"web": {"extends": "base"}}}, "'web': it extends another service"),
    ],
)
def test_what_is_no_service_with_ports_is_refused(document: Node, said: str) -> None:
    with pytest.raises(UnusableValue) as refusal:
        compose_specs(document, "web", {})
    assert said in str(refusal.value)

from dataclasses import replace

import pytest
from hypothesis import given

from hostports import PortSpec, Protocol, parse_spec
from hostports.core.selection import Item, selected
from hostports.errors import HostportsError, NotFound
from hostports.model.following import Following
from hostports.model.port import PortBinding
from tests.engine.conftest import World
from tests.strategies import port_specs

PUBLISHED = World().publish("8080-8081:80-81", "127.0.0.1:9000:80", "53:53/udp").bindings

WEB = next(each for each in PUBLISHED if each.container_port == 80)


def chosen(text: str) -> list[str]:
    return [str(each) for each in selected(parse_spec(text), PUBLISHED)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", ["0.0.0.0:8080:172.19.0.2:80/tcp", "[::]:8080:[fd00::2]:80/tcp"]),
        ("0.0.0.0:8080:80", ["0.0.0.0:8080:172.19.0.2:80/tcp"]),
        ("81", ["0.0.0.0:8081:172.19.0.2:81/tcp", "[::]:8081:[fd00::2]:81/tcp"]),
        ("127.0.0.1::80", ["127.0.0.1:9000:172.19.0.2:80/tcp"]),
        ("53/udp", ["0.0.0.0:53:172.19.0.2:53/udp", "[::]:53:[fd00::2]:53/udp"]),
        ("8000-9000:81", ["0.0.0.0:8081:172.19.0.2:81/tcp", "[::]:8081:[fd00::2]:81/tcp"]),
    ],
)
def test_what_a_spec_leaves_out_may_be_any(text: str, expected: list[str]) -> None:
    assert chosen(text) == expected


@pytest.mark.parametrize("text", ["8080:81", "8082:80", "192.0.2.10:8080:80", "80/udp"])
def test_a_spec_that_means_nothing_is_named(text: str) -> None:
    with pytest.raises(NotFound, match=text):
        chosen(text)


def test_one_spec_that_means_nothing_keeps_all_published() -> None:
    with pytest.raises(NotFound, match="4711"):
        selected([*parse_spec("8080:80"), *parse_spec("4711:80")], PUBLISHED)


def test_a_routed_binding_is_meant_by_any_host_port() -> None:
    routed: list[PortBinding] = [replace(WEB, host_port=0)]
    assert selected(parse_spec("8080:80"), routed) == routed


FOLLOWING = Following("web", "eth0", Protocol.TCP, 8080, 80)
FOLLOWED: list[Item] = [replace(WEB, interface="eth0"), FOLLOWING]


@pytest.mark.parametrize("text", ["eth0:8080:80", "eth0::80", "8080:80", "80", "eth0:8000-9000:80"])
def test_what_follows_an_interface_is_meant_by_that_or_by_whatever_address(text: str) -> None:
    assert selected(parse_spec(text), FOLLOWED) == FOLLOWED
    assert selected(parse_spec(text), [FOLLOWING]) == [FOLLOWING]


@pytest.mark.parametrize("text", ["eth1:8080:80", "eth0:8081:80", "eth0:8080:80/udp"])
def test_another_interface_or_port_means_something_else(text: str) -> None:
    with pytest.raises(NotFound, match=text):
        selected(parse_spec(text), FOLLOWED)


def test_an_address_does_not_mean_what_follows_an_interface_and_the_mend_says_what_does() -> None:
    with pytest.raises(NotFound, match=r"by it: eth0:8080:80/tcp$"):
        selected(parse_spec("0.0.0.0:8080:80"), FOLLOWED)


def test_an_interface_does_not_mean_what_was_asked_for_by_its_address() -> None:
    with pytest.raises(NotFound):
        selected(parse_spec("eth0:8080:80"), [WEB])


@given(port_specs())
def test_a_spec_means_what_it_was_published_by(spec: PortSpec) -> None:
    try:
        bindings = World().publish(str(spec)).bindings
    except HostportsError:  # not every spec can be published on this host
        return
    if bindings:
        assert selected(parse_spec(str(spec)), bindings) == list(bindings)

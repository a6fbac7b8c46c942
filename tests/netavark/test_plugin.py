"""The subcommands against the real API and registry, whose edges are fakes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports import __version__, parse_spec
from hostports.errors import AddressNotOnHost, UnusableValue
from hostports.netavark.request import Container
from tests.api.fake_service import FakeService
from tests.api.serving import serving
from tests.client.server import refusal as refusing
from tests.client.server import serving as serving_answers
from tests.client.server import silent
from tests.netavark.calls import NETWORK, NOWHERE, SUBNETS, Json, call, container, port

IPS = ("10.90.0.5", "fd90::5")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


class Plugin:
    """The plugin, and the daemon that it talks to."""

    def __init__(self, socket: Path, service: FakeService) -> None:
        self._socket = socket
        self.service = service

    def __call__(self, words: list[str], given: object) -> tuple[int, Json | None]:
        return call(words, given, self._socket)

    def create(self, **asked: object) -> Json:
        """A network as Podman gets it back."""
        status, made = self(["create"], {**NETWORK, **asked})
        assert status == 0, made
        assert made
        return made

    def setup(self, network: Json, name: str, *ports: Json) -> Json:
        """What became of a container."""
        given = container(network, name, IPS, *ports)
        status, said = self(["setup", f"/run/netns/{name}"], given)
        assert status == 0, said
        assert said
        return said

    def refused(self, words: list[str], given: object) -> str:
        """Why something is not done."""
        return refusal(self(words, given))

    @property
    def published(self) -> list[str]:
        return [str(each) for each in self.service.registry.engine.published()]

    @property
    def endpoints(self) -> list[str]:
        return [each.name for each in self.service.registry.endpoints()]


def refusal(answer: tuple[int, Json | None]) -> str:
    """What an error says."""
    status, said = answer
    assert status == 1
    assert said
    assert list(said) == ["error"]
    return str(said["error"])


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    path = tmp_path / "api.sock"
    with serving(path=path) as api:
        yield Plugin(path, api.service)


@pytest.fixture
def network(plugin: Plugin) -> Json:
    return plugin.create(subnets=SUBNETS)


def test_info_tells_the_versions() -> None:
    assert call(["info"]) == (0, {"version": __version__, "api_version": "1.0.0"})


def test_create_fills_in_what_podman_left_open(plugin: Plugin) -> None:
    made = plugin.create()
    network = plugin.service.registry.network("lab")
    subnets = [str(network.subnet_ipv4), str(network.subnet_ipv6)]
    assert [each["subnet"] for each in made["subnets"]] == subnets
    assert made["subnets"][0]["gateway"] == "10.87.0.1"
    same = ("name", "id", "driver", "created", "options")
    assert {key: made[key] for key in same} == {key: NETWORK[key] for key in same}
    assert (made["network_interface"], made["ipv6_enabled"]) == ("hp-lab", True)
    assert (made["dns_enabled"], made["ipam_options"]) == (False, {"driver": "host-local"})


def test_create_keeps_what_podman_asks_for(plugin: Plugin) -> None:
    leased = {"subnet": "10.90.0.0/24", "lease_range": {"start_ip": "10.90.0.9"}}
    options = {"gateway_mode_ipv4": "routed", "icc": "false", "trusted_host_interfaces": "wg0,tun+"}
    asked = {"network_interface": "br7", "internal": True, "subnets": [leased], "options": options}
    made = plugin.create(**asked)
    assert made["subnets"] == [{**leased, "gateway": "10.90.0.1"}]
    assert (made["ipv6_enabled"], made["internal"]) == (False, True)
    network = plugin.service.registry.network("lab")
    assert (network.bridge, network.icc) == ("br7", False)
    assert network.gateway_mode_ipv4.value == "routed"
    assert network.trusted_host_interfaces == ("wg0", "tun+")


def test_a_network_that_is_there_is_used_if_it_is_as_asked_for(
    plugin: Plugin, network: Json
) -> None:
    assert plugin(["create"], {**NETWORK, "subnets": SUBNETS}) == (0, network)
    assert plugin(["create"], NETWORK) == (0, network)
    other = {**NETWORK, "subnets": [{"subnet": "10.91.0.0/24"}]}
    assert "10.90.0.0/24" in plugin.refused(["create"], other)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"options": {"mtu": "9000"}}, "mtu"),
        ({"options": {"icc": "maybe"}}, "maybe"),
        ({"subnets": [{"subnet": "10.90.0.0/24", "gateway": "10.90.0.9"}]}, "10.90.0.9"),
        ({"subnets": [{"subnet": "10.90.0.1/24"}]}, "10.90.0.1/24"),
        ({"subnets": [{"subnet": "127.0.0.0/24"}]}, "127.0.0.0/24"),
        ({"name": ""}, "name"),
    ],
)
def test_what_can_not_be_made_is_refused_and_nothing_is_left(
    plugin: Plugin, asked: Json, word: str
) -> None:
    before = plugin.service.dump()
    assert word in plugin.refused(["create"], {**NETWORK, **asked})
    assert plugin.service.dump() == before


def test_setup_wires_up_publishes_and_says_what_became_of_it(plugin: Plugin, network: Json) -> None:
    said = plugin.setup(
        network, "web", port(8080), port(5353, 53, protocol="udp", host_ip="127.0.0.1")
    )
    addresses = [
        {"ipnet": "10.90.0.5/24", "gateway": "10.90.0.1"},
        {"ipnet": "fd90::5/64", "gateway": "fd90::1"},
    ]
    interface = {"mac_address": "02:42:0a:5a:00:05", "subnets": addresses}
    assert said == {
        "dns_search_domains": [],
        "dns_server_ips": [],
        "interfaces": {"eth0": interface},
    }
    assert plugin.published == [
        "127.0.0.1:5353:10.90.0.5:53/udp",
        "0.0.0.0:8080:10.90.0.5:80/tcp",
        "[::]:8080:[fd90::5]:80/tcp",
    ]
    (endpoint,) = plugin.service.registry.endpoints()
    assert endpoint.name.startswith("web-")
    assert endpoint.namespace == "/run/netns/web"


def test_a_container_without_ports_is_wired_up_too(plugin: Plugin, network: Json) -> None:
    plugin.setup(network, "web")
    assert plugin.published == []
    assert len(plugin.service.registry.endpoints()) == 1


def test_a_container_with_a_long_name_is_wired_up_too(plugin: Plugin, network: Json) -> None:
    long = "web" * 50
    plugin.setup(network, long)
    given = container(network, long, IPS)
    assert plugin.endpoints == [f"{long[:115]}-{given['container_id'][:12]}"]
    assert plugin(["teardown", "/run/netns/web"], given) == (0, None)
    assert plugin.endpoints == []


def test_teardown_takes_all_of_it_away_and_may_be_repeated(plugin: Plugin, network: Json) -> None:
    before = plugin.service.dump()
    plugin.setup(network, "web", port(8080))
    for _ in range(2):
        given = container(network, "web", IPS, port(8080))
        assert plugin(["teardown", "/run/netns/web"], given) == (0, None)
        assert plugin.service.dump() == before


def test_a_port_that_a_container_has_is_refused_by_its_name_and_nothing_is_left(
    plugin: Plugin, network: Json
) -> None:
    plugin.setup(network, "web", port(8080))
    before = plugin.service.dump()
    given = container(network, "db", ("10.90.0.6", "fd90::6"), port(8081), port(8080))
    assert "'web-" in plugin.refused(["setup", "/run/netns/db"], given)
    assert plugin.service.dump() == before


@pytest.mark.parametrize(
    "options", [{"interface_name": "eth1"}, {"static_mac": "02:00:00:00:00:01"}]
)
def test_an_interface_that_we_do_not_make_so_is_refused(
    plugin: Plugin, network: Json, options: Json
) -> None:
    said = plugin.refused(["setup", "/run/netns/web"], container(network, "web", IPS, **options))
    assert next(iter(options.values())) in said


def test_a_network_whose_record_was_lost_is_made_anew(plugin: Plugin, network: Json) -> None:
    plugin.service.reset()
    plugin.setup(network, "web", port(8080))
    assert plugin.service.registry.network("lab").bridge == network["network_interface"]


def test_what_was_never_torn_down_makes_room(plugin: Plugin, network: Json) -> None:
    """The host went down: a container comes back, and another one doesn't."""
    given = container(network, "gone", ("10.90.0.6", "fd90::6"), port(8081))
    assert plugin(["setup", "/run/netns/netns-gone"], given)[0] == 0
    plugin.setup(network, "web", port(8080))
    plugin.setup(network, "web", port(8080), port(8081))
    assert [each.partition("-")[0] for each in plugin.endpoints] == ["web"]


def test_a_namespace_of_somebody_else_is_waited_for(plugin: Plugin, network: Json) -> None:
    """An operator may make it anew after a boot."""
    plugin.setup(network, "db")
    given = container(network, "web", ("10.90.0.6", "fd90::6"))
    assert plugin(["setup", "/run/netns/web"], given)[0] == 0
    assert [each.partition("-")[0] for each in plugin.endpoints] == ["db", "web"]


@pytest.mark.parametrize(
    ("mapping", "specs"),
    [
        (port(8080), ["8080:80/tcp"]),
        (port(8000, 9000, range=3), ["8000-8002:9000-9002/tcp"]),
        (port(53, 53, protocol="tcp,udp", host_ip="::1"), ["[::1]:53:53/tcp", "[::1]:53:53/udp"]),
        ({"host_port": 1, "container_port": 2}, ["1:2/tcp"]),
    ],
)
def test_a_mapping_becomes_specs(mapping: Json, specs: list[str]) -> None:
    found = Container({"port_mappings": [mapping]}).specs()
    assert found == specs
    assert all(map(parse_spec, found))


@pytest.mark.parametrize("words", [[], ["setup"], ["create", "x"], ["update", "/run/netns/web"]])
def test_another_subcommand_is_refused(words: list[str]) -> None:
    assert "create, setup NETNS" in refusal(call(words, NETWORK))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    assert "JSON" in refusal(call(["create"], text))


def test_without_a_daemon_it_says_so() -> None:
    assert str(NOWHERE) in refusal(call(["create"], NETWORK))


def test_a_daemon_that_is_silent_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with silent(path := tmp_path / "s"):
        assert "silent for 0.1 seconds" in refusal(call(["create"], NETWORK, path, 0.1))


def test_hints_speak_of_what_podman_can_do(tmp_path: Path) -> None:
    """The plugin has no flags."""
    unreachable = refusal(call(["create"], NETWORK))
    assert "$HOSTPORTS_SOCKET" in unreachable
    absent = AddressNotOnHost("192.0.2.99:8080/tcp")
    absent.offer_to_wait()
    with serving_answers(path := tmp_path / "s") as server:
        server.on("POST /v1/networks", refusing(400, "unusable_input", "no", absent.hint))
        refused = refusal(call(["create"], NETWORK, path))
    assert "leave the host address out" in refused
    assert "--" not in unreachable + refused


KEYS = st.sampled_from([*container({}, "web", ()), *NETWORK, "subnets", "network_interface"])


@given(st.sampled_from(["create", "setup", "teardown"]), st.dictionaries(KEYS, json_values))
def test_any_configuration_is_answered_with_a_result_or_an_error(verb: str, config: Json) -> None:
    words = [verb] if verb == "create" else [verb, "/run/netns/web"]
    status, said = call(words, {**container(NETWORK, "web", IPS), **NETWORK, **config})
    assert status == 0 or (said and said["error"])


def test_an_interfaces_name_is_looked_at_first() -> None:
    with pytest.raises(UnusableValue, match="eth1"):
        Container(container(NETWORK, "web", IPS, interface_name="eth1")).refuse_unfit()

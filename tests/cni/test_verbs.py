"""The verbs against the real API and registry, whose edges are fakes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hostports import parse_spec
from hostports.cni.names import Attachment
from hostports.cni.request import VERSIONS
from hostports.core.networks import EndpointRequest, NetworkRequest
from hostports.engine.registry import PortsRequest
from hostports.engine.restart import serve_again
from hostports.errors import AddressNotOnHost
from hostports.model.links import HostLinks, Interface
from hostports.model.network import GatewayMode
from hostports.model.port import Protocol
from tests.api.fake_service import FakeService
from tests.api.serving import serving
from tests.client.server import refusal, silent
from tests.client.server import serving as serving_answers
from tests.cni.calls import PORT, RESULT, Json, Said, call, configuration, environment

OTHER_PORT = {**PORT, "hostPort": 8081}


class Plugin:
    """The plugin, and the daemon that it talks to."""

    def __init__(self, socket: Path, service: FakeService) -> None:
        self.socket = socket
        self.service = service
        bridge, cable = Interface(bridge=True), Interface()
        service.links.host = HostLinks({"cni0": bridge, "veth0": cable, "veth1": cable})
        self.empty = service.dump()

    def __call__(
        self,
        verb: str,
        *ports: Json,
        container: str = "c1",
        pod: str = "",
        config: Json | None = None,
    ) -> Said:
        """One call for a container, with more keys of the configuration."""
        args = {"CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAME={pod}"} if pod else {}
        common = configuration(self.socket, *ports, prevResult=result(container))
        return call(environment(verb, container, **args), {**common, **(config or {})})

    def added(self, *ports: Json, container: str = "c1", pod: str = "") -> Json:
        """The result of an ADD that succeeds."""
        said = self("ADD", *ports, container=container, pod=pod)
        assert said.status == 0, said.text
        return said.document

    @property
    def published(self) -> list[str]:
        return [str(each) for each in self.service.registry.engine.published()]

    @property
    def endpoints(self) -> list[str]:
        return [each.name for each in self.service.registry.endpoints()]


def result(container: str, interfaces: list[Json] | None = None) -> Json:
    """A container's result: c1 has addresses that end in 2, c2 in 3."""
    last = int(container[1:]) + 1
    ips = [{"interface": 2, "address": f"{ip}{last}/64"} for ip in ("10.88.0.", "fd88::")]
    return {**RESULT, "ips": ips, "interfaces": interfaces or RESULT["interfaces"]}


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    path = tmp_path / "api.sock"
    with serving(path=path) as api:
        yield Plugin(path, api.service)


@pytest.mark.parametrize("version", VERSIONS)
def test_add_publishes_and_passes_on_what_it_got(plugin: Plugin, version: str) -> None:
    before = {**result("c1"), "cniVersion": version, "x-unknown": [1]}
    said = plugin("ADD", PORT, config={"cniVersion": version, "prevResult": before})
    assert (said.status, said.document) == (0, before)
    assert plugin.published == ["0.0.0.0:8080:10.88.0.2:80/tcp", "[::]:8080:[fd88::2]:80/tcp"]


def test_a_container_without_ports_needs_no_daemon(tmp_path: Path) -> None:
    config = configuration(tmp_path / "nowhere", prevResult=RESULT)
    for verb, text in (("ADD", RESULT), ("DEL", None), ("CHECK", None)):
        said = call(environment(verb), config)
        assert said.status == 0
        assert (said.document if said.text else None) == text


def test_without_a_previous_result_there_is_nothing_to_publish(plugin: Plugin) -> None:
    said = call(environment("ADD"), configuration(plugin.socket, PORT))
    assert said.code == 7
    assert "prevResult" in said.message


def test_an_endpoint_is_called_after_its_pod_or_its_container(plugin: Plugin) -> None:
    plugin.added(PORT, pod="shop web")
    plugin.added(OTHER_PORT, container="c2")
    first, second = plugin.endpoints
    assert first.startswith("cni-shop-web-")
    assert second.startswith("cni-c2-")


def test_pods_behind_one_bridge_share_a_network_and_others_have_their_own(plugin: Plugin) -> None:
    plugin.added(PORT)
    plugin.added(OTHER_PORT, container="c2")
    cable = result("c3", [{"name": "veth1"}, {}, RESULT["interfaces"][2]])
    assert (
        plugin("ADD", {**PORT, "hostPort": 1}, container="c3", config={"prevResult": cable}).status
        == 0
    )
    networks = {each.name: each for each in plugin.service.registry.networks()}
    assert list(networks) == ["cni-cni0", "cni-veth1"]
    assert all(each.ports_only for each in networks.values())


def test_a_port_that_a_pod_has_is_refused_with_its_name_and_nothing_is_left(plugin: Plugin) -> None:
    plugin.added(PORT, pod="first")
    before = plugin.service.dump()
    said = plugin("ADD", OTHER_PORT, PORT, container="c2", pod="second")
    assert said.code == 100
    assert "cni-first-" in said.message
    assert plugin.service.dump() == before


def test_a_port_that_a_process_has_is_refused_and_nothing_is_left(plugin: Plugin) -> None:
    kernel = plugin.service.kernel
    kernel.listen(kernel.open(Protocol.TCP, IPv4Address("0.0.0.0"), 8080, reuseaddr=True))
    before = plugin.service.dump()
    assert plugin("ADD", PORT).code == 100
    assert plugin.service.dump() == before


def test_an_address_that_the_host_has_not_is_refused(plugin: Plugin) -> None:
    said = plugin("ADD", {**PORT, "hostIP": "192.0.2.99"})
    assert said.status == 1
    assert "192.0.2.99" in said.message
    assert plugin.service.dump() == plugin.empty


def test_what_leads_nowhere_is_refused_and_not_just_left_out(plugin: Plugin) -> None:
    six = {**RESULT, "ips": [{"interface": 2, "address": "fd88::2/64"}]}
    said = plugin("ADD", {**PORT, "hostIP": "127.0.0.1"}, config={"prevResult": six})
    assert said.code == 7
    assert "127.0.0.1:8080:80/tcp" in said.message
    assert plugin.service.dump() == plugin.empty


def test_del_gives_the_ports_back_and_may_be_repeated(plugin: Plugin) -> None:
    plugin.added(PORT, pod="web")
    for _ in range(2):
        said = plugin("DEL", PORT, pod="web")
        assert (said.status, said.text) == (0, "")
        assert plugin.service.dump() == plugin.empty


def test_del_needs_neither_the_result_nor_the_ports_nor_the_pods_name(plugin: Plugin) -> None:
    plugin.added(PORT, pod="web")
    assert call(environment("DEL", CNI_NETNS=""), configuration(plugin.socket)).status == 0
    assert plugin.service.dump() == plugin.empty


def test_del_leaves_other_pods_alone(plugin: Plugin) -> None:
    plugin.added(PORT)
    plugin.added(OTHER_PORT, container="c2")
    plugin("DEL", PORT)
    assert plugin.published == ["0.0.0.0:8081:10.88.0.3:80/tcp", "[::]:8081:[fd88::3]:80/tcp"]


def test_check_finds_what_is_there_and_names_what_is_missing(plugin: Plugin) -> None:
    plugin.added(PORT, OTHER_PORT)
    assert plugin("CHECK", PORT, OTHER_PORT).status == 0
    (name,) = plugin.endpoints
    plugin.service.registry.unpublish(name, parse_spec("8081:80"))
    said = plugin("CHECK", PORT, OTHER_PORT)
    assert said.code == 101
    assert "8081:80/tcp" in said.message
    assert "8080" not in said.message


def test_check_misses_a_port_of_one_family_that_somebody_else_has(plugin: Plugin) -> None:
    """What the relay took with it, and another process had before the next one."""
    plugin.added(PORT, OTHER_PORT)
    service, kernel = plugin.service, plugin.service.kernel
    service.relay.remove([each.binding for each in service.relay.held()])
    kernel.listen(kernel.open(Protocol.TCP, IPv4Address("0.0.0.0"), 8080, reuseaddr=True))
    serve_again(service.registry, service.store.load())
    assert len(plugin.published) == 3
    said = plugin("CHECK", PORT, OTHER_PORT)
    assert said.code == 101
    assert "0.0.0.0:8080:10.88.0.2:80/tcp" in said.message
    assert "8081" not in said.message


@pytest.mark.parametrize(
    ("added", "asked"), [("", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "::1")]
)
def test_check_misses_a_host_address(plugin: Plugin, added: str, asked: str) -> None:
    plugin.added({**PORT, "hostIP": added})
    assert plugin("CHECK", {**PORT, "hostIP": added}).status == 0
    said = plugin("CHECK", {**PORT, "hostIP": asked})
    assert said.code == 101
    assert asked in said.message


def test_check_knows_a_host_address_however_it_is_spelled(plugin: Plugin) -> None:
    plugin.added({**PORT, "hostIP": "::1"}, {**OTHER_PORT, "hostIP": "127.0.0.1"})
    mapped = {**OTHER_PORT, "hostIP": "::ffff:127.0.0.1"}
    assert plugin("CHECK", {**PORT, "hostIP": "0:0::0:1"}, mapped).status == 0


def test_check_asks_no_host_address_of_a_routed_network(plugin: Plugin) -> None:
    """Its ports are reached at the container's own addresses, whatever the mapping says."""
    bridge = Interface((IPv4Network("10.88.0.0/16"),), bridge=True)
    plugin.service.links.host = HostLinks({"cni0": bridge})
    routed = GatewayMode.ROUTED
    plugin.service.registry.create_network(
        NetworkRequest("mine", "cni0", existing_bridge=True, gateway_mode_ipv4=routed)
    )
    config = {"prevResult": {**RESULT, "ips": RESULT["ips"][:1]}}
    port = {**PORT, "hostIP": "127.0.0.1"}
    for verb in ("ADD", "CHECK"):
        said = plugin(verb, port, config=config)
        assert said.status == 0, said.text


def test_check_misses_a_container_that_was_never_added(plugin: Plugin) -> None:
    assert plugin("CHECK", PORT).code == 101
    assert call(environment("CHECK"), configuration(plugin.socket, PORT)).code == 7


def test_gc_removes_what_is_not_valid_on_its_network_only(plugin: Plugin) -> None:
    plugin.service.furnish("9090:80")
    for number in (1, 2, 3):
        port = {**PORT, "hostPort": 8080 + number}
        plugin.added(port, container=f"c{number}")
    cable = result("c4", [{"name": "veth1"}, {}, RESULT["interfaces"][2]])
    other = {"name": "podnet2", "prevResult": cable}
    assert plugin("ADD", {**PORT, "hostPort": 8084}, container="c4", config=other).status == 0
    valid = [{"containerID": "c2", "ifname": "eth0"}, {"containerID": "never", "ifname": "eth0"}]
    assert plugin("GC", config={"cni.dev/valid-attachments": valid}).status == 0
    ports = {each.host_port for each in plugin.service.registry.engine.published()}
    assert ports == {9090, 8082, 8084}
    assert plugin("GC", config={"name": "podnet2", "cni.dev/valid-attachments": []}).status == 0
    assert [each.name for each in plugin.service.registry.networks()] == ["lab", "cni-cni0"]


@pytest.mark.parametrize(
    "valid",
    [
        {},
        {"cni.dev/valid-attachments": 7},
        {"cni.dev/valid-attachments": None, "cni.dev/attachments": 7},
        {"cni.dev/valid-attachments": ["c1"]},
    ],
)
def test_gc_without_a_list_removes_nothing(plugin: Plugin, valid: Json) -> None:
    plugin.added(PORT)
    before = plugin.service.dump()
    assert plugin("GC", config=valid).code == 7
    assert plugin.service.dump() == before


@pytest.mark.parametrize(
    "none_left", [{"cni.dev/attachments": []}, {"cni.dev/valid-attachments": None}]
)
def test_gc_knows_the_drafts_key_and_what_libcni_makes_of_none(
    plugin: Plugin, none_left: Json
) -> None:
    plugin.added(PORT)
    assert plugin("GC", config=none_left).status == 0
    assert plugin.service.dump() == plugin.empty


def test_gc_heeds_a_list_by_either_key_though_the_other_has_none(plugin: Plugin) -> None:
    plugin.added(PORT)
    before = plugin.service.dump()
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    config = {"cni.dev/valid-attachments": None, "cni.dev/attachments": valid}
    assert plugin("GC", config=config).status == 0
    assert plugin.service.dump() == before


def test_status_says_whether_the_daemon_is_there(plugin: Plugin, tmp_path: Path) -> None:
    assert plugin("STATUS").status == 0
    said = call(environment("STATUS"), configuration(tmp_path / "nowhere"))
    assert said.code == 50
    assert "nowhere" in said.message


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_without_a_daemon_ports_have_to_be_tried_again_later(tmp_path: Path, verb: str) -> None:
    """A DEL that were to succeed would leave the ports behind."""
    config = configuration(tmp_path / "nowhere", PORT, prevResult=RESULT)
    said = call(environment(verb), config)
    assert said.code == 11
    assert "nowhere" in said.message


@pytest.mark.parametrize(
    ("verb", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)]
)
def test_a_daemon_that_is_silent_is_not_waited_for_without_end(
    tmp_path: Path, verb: str, code: int
) -> None:
    attachments: dict[str, object] = {"cni.dev/valid-attachments": []}
    with silent(path := tmp_path / "s"):
        config = configuration(path, PORT, prevResult=RESULT, **attachments)
        said = call(environment(verb), config, 0.1)
    assert said.code == code
    assert "silent for 0.1 seconds" in said.message


def test_hints_speak_of_what_a_list_of_plugins_has(tmp_path: Path) -> None:
    """The plugin has no flags."""
    unreachable = call(environment("STATUS"), configuration(tmp_path / "nowhere"))
    assert 'the key "socket"' in unreachable.document["details"]
    absent = AddressNotOnHost("192.0.2.99:8080/tcp")
    hint = absent.hint
    absent.offer_to_wait()
    with serving_answers(path := tmp_path / "s") as server:
        server.on("GET /v1/endpoints", refusal(400, "unusable_input", "no", absent.hint))
        refused = call(environment("ADD"), configuration(path, PORT, prevResult=RESULT))
    assert refused.document["details"] == hint
    assert "--" not in unreachable.text + refused.text


def test_a_container_that_was_never_deleted_may_come_back(plugin: Plugin) -> None:
    """The host went down, and the runtime begins anew, with another cable and address."""
    plugin.added(PORT, pod="web")
    cable = result("c5", [{"name": "veth1"}, {}, RESULT["interfaces"][2]])
    assert plugin("ADD", PORT, config={"prevResult": cable}).status == 0
    assert plugin.published == ["0.0.0.0:8080:10.88.0.6:80/tcp", "[::]:8080:[fd88::6]:80/tcp"]
    assert [each.name for each in plugin.service.registry.networks()] == ["cni-veth1"]


def test_an_address_that_is_now_anothers_takes_its_former_ports_away(plugin: Plugin) -> None:
    """IPAM gave it out again: what leads there would lead to the wrong pod."""
    plugin.added(PORT)
    again = {**result("c2"), "ips": result("c1")["ips"]}
    assert plugin("ADD", OTHER_PORT, container="c2", config={"prevResult": again}).status == 0
    assert plugin.published == ["0.0.0.0:8081:10.88.0.2:80/tcp", "[::]:8081:[fd88::2]:80/tcp"]


def test_so_they_are_taken_from_a_pod_that_has_no_ports(plugin: Plugin) -> None:
    plugin.added(PORT)
    again = {**result("c2"), "ips": result("c1")["ips"]}
    assert plugin("ADD", container="c2", config={"prevResult": again}).status == 0
    assert plugin.service.dump() == plugin.empty


def test_a_container_without_an_address_has_no_ports(plugin: Plugin) -> None:
    config = {"prevResult": {**RESULT, "ips": []}}
    assert plugin("ADD", config=config).status == 0
    assert plugin("ADD", PORT, config=config).code == 7


def test_a_network_that_is_named_is_used_and_stays(plugin: Plugin) -> None:
    plugin.service.registry.create_network(NetworkRequest("mine", "veth0", ports_only=True))
    before = plugin.service.dump()
    assert plugin("ADD", PORT, config={"network": "mine"}).status == 0
    (endpoint,) = plugin.service.registry.endpoints()
    assert endpoint.network.name == "mine"
    assert plugin("DEL", PORT, config={"network": "mine"}).status == 0
    assert plugin.service.dump() == before


def test_a_network_that_is_named_has_to_be_there(plugin: Plugin) -> None:
    said = plugin("ADD", PORT, config={"network": "nowhere"})
    assert said.code == 7
    assert "nowhere" in said.message


def test_an_operators_network_on_the_same_bridge_is_used(plugin: Plugin) -> None:
    """So an operator has the pods protected as Docker's containers are."""
    links = HostLinks({"cni0": Interface((IPv4Network("10.88.0.0/16"),), bridge=True)})
    plugin.service.links.host = links
    request = NetworkRequest("mine", "cni0", existing_bridge=True)
    plugin.service.registry.create_network(request)
    four = {**RESULT, "ips": RESULT["ips"][:1]}
    assert plugin("ADD", PORT, config={"prevResult": four}).status == 0
    assert [each.network.name for each in plugin.service.registry.endpoints()] == ["mine"]


def test_an_interface_that_is_named_is_used(plugin: Plugin) -> None:
    assert plugin("ADD", PORT, config={"interface": "veth1"}).status == 0
    assert [each.bridge for each in plugin.service.registry.networks()] == ["veth1"]


@pytest.mark.parametrize("key", ["socket", "network", "interface"])
@pytest.mark.parametrize("value", [7, "", ["x"]])
def test_keys_of_ours_are_texts(plugin: Plugin, key: str, value: object) -> None:
    said = plugin("ADD", PORT, config={key: value})
    assert said.code == 7
    assert key in said.message


def test_endpoints_of_operators_are_never_taken_for_ours(plugin: Plugin) -> None:
    plugin.service.registry.create_network(NetworkRequest("cni-cni0", "cni0", ports_only=True))
    ip = IPv4Address("10.88.0.2")
    plugin.service.registry.add_endpoint(EndpointRequest("cni-cni0", "web", ipv4=ip))
    plugin.service.registry.publish(PortsRequest("web", parse_spec("9090:80")))
    before = plugin.service.dump()
    said = plugin("ADD", PORT)
    assert said.code == 100
    assert "'web'" in said.message
    plugin("DEL", PORT)
    plugin("GC", config={"cni.dev/valid-attachments": []})
    assert plugin.service.dump() == before


def test_what_is_of_another_boot_makes_room_for_new_pods(plugin: Plugin) -> None:
    """A pod that the host took down with it will not be deleted by anybody."""
    plugin.added(PORT, pod="web")
    (now,) = plugin.service.registry.endpoints()
    plugin("DEL", pod="web")
    before = Attachment("podnet2", "c9", "eth0").endpoint("old", "another boot")
    plugin.service.registry.create_network(NetworkRequest("cni-veth1", "veth1", ports_only=True))
    ip = IPv4Address("10.88.0.9")
    plugin.service.registry.add_endpoint(EndpointRequest("cni-veth1", before, ipv4=ip))
    plugin.service.registry.publish(PortsRequest(before, parse_spec("8080:80")))
    plugin.added(PORT, pod="web")
    assert plugin.endpoints == [now.name]
    assert [each.name for each in plugin.service.registry.networks()] == ["cni-cni0"]


def test_pods_come_and_go_at_the_same_moment(plugin: Plugin) -> None:
    """Each of them may be the first, or the last one, of their network."""

    def live(number: int) -> list[int]:
        port, name = {**PORT, "hostPort": 8000 + number}, f"c{number}"
        calls = [plugin(verb, port, container=name) for verb in ("ADD", "CHECK", "DEL") * 3]
        return [each.status for each in calls]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(live, range(1, 9)))
    assert statuses == [[0] * 9] * 8
    assert plugin.service.dump() == plugin.empty

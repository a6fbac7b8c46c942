"""Things as the API shows them."""

from tests.client.server import Json


def binding(**changes: object) -> Json:
    """A binding of a web server."""
    return {
        "endpoint": "web",
        "network": "default",
        "proto": "tcp",
        "host_ip": "0.0.0.0",
        "host_port": 8080,
        "container_ip": "10.88.0.2",
        "container_port": 80,
        "gateway_mode": "nat",
        "mode": "nat",
        "path": "nat+relay",
        "allow_from": [],
        "child_host_ip": None,
        "interface": None,
        "packets": 12345,
        "bytes": 1234567,
        "connections": 3,
        "created": "2026-11-24T09:00:00Z",
        "proxy_protocol": None,
        **changes,
    }


IPV4 = binding()
IPV6 = binding(host_ip="::", container_ip="fd00::2", path="relay")
ROUTED = binding(host_port=0, container_port=443, path="routed", gateway_mode="routed")
UDP = binding(endpoint="dns", proto="udp", host_port=53, container_port=53)

NETWORK: Json = {
    "name": "lab",
    "bridge": "hp-lab",
    "subnets": ["10.87.1.0/24", "fd00:1::/64"],
    "gateway_mode_ipv4": "nat",
    "gateway_mode_ipv6": "routed",
    "host_ipv4": None,
    "host_ipv6": None,
    "internal": False,
    "icc": False,
    "masquerade": True,
    "trusted_host_interfaces": ["tun+"],
    "existing_bridge": False,
    "ports_only": False,
}
ENDPOINT: Json = {
    "name": "web",
    "network": "lab",
    "addresses": ["10.87.1.2", "fd00:1::2"],
    "kind": "namespace",
    "namespace": "/run/netns/web",
}
VM: Json = {**ENDPOINT, "name": "vm", "kind": "address", "namespace": ""}

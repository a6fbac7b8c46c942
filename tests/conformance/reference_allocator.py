"""A model of moby 28.5's port allocator, by the letter of its rules; slow and plain."""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

IP = IPv4Address | IPv6Address
PROTOCOLS = ("tcp", "udp", "sctp")


class Refused(Exception):
    """The reference, or the model of it, refuses; `kind` is the schema's word for the reason."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def unmapped(text: str) -> IP:
    ip = ip_address(text)
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


class Allocator:
    """What is taken, and where each range goes on."""

    def __init__(self, dynamic: Sequence[int]) -> None:
        self.dynamic = (dynamic[0], dynamic[1])
        self.taken: set[tuple[str, IP, int]] = set()
        self.last: dict[tuple[str, IP, int, int], int] = {}

    def request(
        self,
        ips: Sequence[str],
        proto: str,
        start: int,
        end: int,
        tried: Collection[int] = (),
    ) -> int:
        if proto not in PROTOCOLS:
            raise Refused("unknown_protocol")
        if (start or end) and (not start or not end or end < start):
            raise Refused("invalid_port_range")
        addresses = list(dict.fromkeys(unmapped(ip) for ip in ips))
        if not addresses:
            raise Refused("no_addresses")
        if start == end > 0:
            if not self._free(proto, addresses, start):
                raise Refused("port_already_allocated")
            port = start
        else:
            start, end = (start, end) if start else self.dynamic
            port = self._from_range(proto, addresses, start, end, tried)
        self.taken |= {(proto, ip, port) for ip in addresses}
        return port

    def release(self, ip: str, proto: str, port: int) -> None:
        self.taken.discard((proto, unmapped(ip), port))

    def release_all(self) -> None:
        self.taken.clear()
        self.last.clear()

    def state(self) -> dict[str, dict[str, list[int]]]:
        """As the schema writes it: protocol -> address -> ports, ascending."""
        state: dict[str, dict[str, list[int]]] = {}
        for proto, ip, port in sorted(self.taken, key=lambda each: each[2]):
            state.setdefault(proto, {}).setdefault(str(ip), []).append(port)
        return state

    def _from_range(
        self, proto: str, ips: Sequence[IP], start: int, end: int, tried: Collection[int]
    ) -> int:
        ports = list(range(start, end + 1))
        last = self.last.get((proto, ips[0], start, end), end)
        after = last - start + 1
        for port in ports[after:] + ports[:after]:
            if port not in tried and self._free(proto, ips, port):
                self.last |= {(proto, ip, start, end): port for ip in ips}
                return port
        raise Refused("all_ports_allocated")

    def _free(self, proto: str, ips: Sequence[IP], port: int) -> bool:
        return not any(
            (proto, port) == (other_proto, other_port)
            and ip.version == other.version
            and (ip == other or ip.is_unspecified or other.is_unspecified)
            for other_proto, other, other_port in self.taken
            for ip in ips
        )

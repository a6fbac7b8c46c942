"""Packets that no ordinary socket sends."""

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import count
from time import monotonic

from tests.netns.lab import Lab

ETH_P_IP = 0x0800
IPPROTO_SCTP = 132
#: Source ports and identifiers by which a packet is known again.
_marks = count(40000)


def ping(lab: Lab, where: str, ip: str, seconds: float) -> bool:
    """Whether an echo request is answered."""
    mark = next(_marks)
    if ":" in ip:
        family, protocol, request, reply = socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129
    else:
        family, protocol, request, reply = socket.AF_INET, socket.IPPROTO_ICMP, 8, 0
    packet = struct.pack("!BBHHH", request, 0, 0, mark, 1)
    if family == socket.AF_INET:  # the kernel fills in the checksum of ICMPv6 only (RFC 3542)
        packet = struct.pack("!BBHHH", request, 0, checksum(packet), mark, 1)
    with raw_socket(lab, where, family, protocol) as raw:
        raw.sendto(packet, (ip, 0))
        return heard(raw, seconds, lambda got: got[-8] == reply and got[-4:-2] == _short(mark))


def sctp_arrives(lab: Lab, host_port: int, container: str, port: int, seconds: float) -> bool:
    """Whether an INIT of the client to a port of the host arrives at a container's port."""
    mark = next(_marks)
    with (
        raw_socket(lab, container, socket.AF_INET, IPPROTO_SCTP) as listening,
        raw_socket(lab, "client", socket.AF_INET, IPPROTO_SCTP) as sending,
    ):
        sending.sendto(_sctp_init(mark, host_port), ("10.9.0.1", 0))
        wanted = _short(mark) + _short(port)
        return heard(listening, seconds, lambda got: got[20:24] == wanted)


def spoofed_syn_arrives(
    lab: Lab, destination: str, host_port: int, container: str, port: int, seconds: float
) -> bool:
    """Whether a SYN that the client puts on the wire for any address arrives at a container."""
    mark = next(_marks)
    client = lab.namespaces["client"]
    with (
        raw_socket(lab, container, socket.AF_INET, socket.IPPROTO_TCP) as listening,
        client.entered(),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
    ):
        wire.bind(("eth0", ETH_P_IP))
        macs = lab.mac("host", "uplink0") + lab.mac("client", "eth0")
        frame = macs + _short(ETH_P_IP) + _syn("10.9.0.2", destination, mark, host_port)
        wire.send(frame)
        wanted = _short(mark) + _short(port)
        return heard(listening, seconds, lambda got: got[20:24] == wanted)


def datagram_arrives(lab: Lab, where: str, ip: str, there: str, seconds: float) -> bool:
    """Whether a datagram arrives, even if no answer would come back."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with (
        raw_socket(lab, there, family, socket.IPPROTO_UDP) as listening,
        lab.namespaces[where].entered(),
        socket.socket(family, socket.SOCK_DGRAM) as sending,
    ):
        port = next(_marks)
        sending.sendto(b"one way", (ip, port))
        # A raw socket of IPv4 shows the IP header, one of IPv6 doesn't (RFC 3542).
        header = 0 if family == socket.AF_INET6 else 20
        wanted = slice(header + 2, header + 4)
        return heard(listening, seconds, lambda got: got[wanted] == _short(port))


def raw_socket(lab: Lab, where: str, family: int, protocol: int) -> socket.socket:
    """A raw socket in a namespace."""
    with lab.namespaces[where].entered():
        return socket.socket(family, socket.SOCK_RAW, protocol)


def heard(raw: socket.socket, seconds: float, wanted: Callable[[bytes], bool]) -> bool:
    """Whether a packet that is wanted comes within a time."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        raw.settimeout(left)
        try:
            if wanted(raw.recv(2000)):
                return True
        except TimeoutError:
            break
    return False


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _short(number: int) -> bytes:
    return struct.pack("!H", number)


def _syn(source: str, destination: str, source_port: int, port: int) -> bytes:
    """An IPv4 packet with a TCP SYN (RFC 791, RFC 9293)."""
    ends = IPv4Address(source).packed + IPv4Address(destination).packed

    def segment(check: int) -> bytes:
        return struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 2, 65535, check, 0)

    def header(check: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, check) + ends

    tcp = segment(checksum(ends + struct.pack("!HH", 6, 20) + segment(0)))
    return header(checksum(header(0))) + tcp


def _sctp_init(source_port: int, port: int) -> bytes:
    """An SCTP packet with an INIT chunk; NAT takes none whose CRC32c is wrong (RFC 9260)."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65535, 10, 10, 1)
    header = struct.pack("!HHI", source_port, port, 0)
    return header + struct.pack("<I", crc32c(header + b"\0" * 4 + chunk)) + chunk


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

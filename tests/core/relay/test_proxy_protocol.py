from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.core.relay.proxy_protocol import header
from hostports.model.address import IPAddress, unmapped
from tests.strategies import ports


class Decoded(NamedTuple):
    """A header as a receiver reads it, by the table of section 2.2."""

    family: int
    source: tuple[IPAddress, int]
    destination: tuple[IPAddress, int]


def decoded(data: bytes) -> Decoded:
    assert data[:12] == bytes.fromhex("0d0a0d0a000d0a515549540a")
    version_command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    assert version_command == 0x21, "version 2, PROXY"
    assert family in {0x11, 0x21}, "TCP over IPv4 or IPv6"
    body = data[16:]
    size = 4 if family == 0x11 else 16
    assert len(body) == length == 2 * size + 4

    def end(index: int) -> tuple[IPAddress, int]:
        address, port = body[index * size :][:size], body[2 * size + 2 * index :][:2]
        ip = IPv4Address(address) if size == 4 else IPv6Address(address)
        return ip, int.from_bytes(port, "big")

    return Decoded(family, end(0), end(1))


def test_ipv4_is_written_as_the_specification_says() -> None:
    assert header(("203.0.113.7", 49152), ("192.0.2.10", 80)) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a"  # signature
        "2111000c"  # version 2 PROXY, TCP over IPv4, twelve bytes
        "cb007107c000020a"  # addresses
        "c0000050"  # ports
    )


def test_ipv6_is_written_as_the_specification_says() -> None:
    assert header(("2001:db8::7", 49152), ("fd00::2", 443)) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a"
        "21210024"
        "20010db8000000000000000000000007"
        "fd000000000000000000000000000002"
        "c00001bb"
    )


def test_mapped_addresses_are_ipv4() -> None:
    mapped = header(("::ffff:203.0.113.7", 1), ("::ffff:192.0.2.10", 2))
    assert mapped == header(("203.0.113.7", 1), ("192.0.2.10", 2))
    assert mapped == header(("203.0.113.7", 1), ("::ffff:192.0.2.10", 2))


@pytest.mark.parametrize(
    ("client", "destination"), [("203.0.113.7", "fd00::2"), ("fd00::2", "203.0.113.7")]
)
def test_of_two_families_both_are_written_as_ipv6(client: str, destination: str) -> None:
    family, source, target = decoded(header((client, 1), (destination, 2)))
    assert family == 0x21
    assert [unmapped(source[0]), unmapped(target[0])] == [
        ip_address(client),
        ip_address(destination),
    ]


@pytest.mark.parametrize("scope", ["%eth0", "%3"])
def test_the_scope_of_a_link_local_address_is_left_out(scope: str) -> None:
    link_local = f"fe80::1{scope}"
    expected = header(("fe80::1", 1), ("fe80::1", 2))
    assert header((link_local, 1), (link_local, 2)) == expected
    assert header((IPv6Address(link_local), 1), (IPv6Address(link_local), 2)) == expected


ends = st.tuples(st.ip_addresses(), ports)


@given(ends, ends, st.booleans())
def test_a_receiver_reads_what_was_written(
    client: tuple[IPAddress, int],
    destination: tuple[IPAddress, int],
    as_text: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    def given_as(end: tuple[IPAddress, int]) -> tuple[str | IPAddress, int]:
        return (str(end[0]) if as_text else end[0], end[1])

    read = decoded(header(given_as(client), given_as(destination)))
    for wanted, got in ((client, read.source), (destination, read.destination)):
        assert (unmapped(got[0]), got[1]) == (unmapped(wanted[0]), wanted[1])

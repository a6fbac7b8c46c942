from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostports import PortRange, PortSpec, Protocol, parse_spec
from hostports.errors import UnusableValue
from tests.strategies import port_specs


@given(port_specs())
def test_a_spec_reads_back_what_it_writes(spec: PortSpec) -> None:
    assert parse_spec(str(spec)) == [spec]


def refusal(text: str) -> str:
    """The message that refuses a text, empty if it isn't refused."""
    try:
        assert parse_spec(text)
    except UnusableValue as error:
        return str(error)
    return ""


@given(st.text() | st.text("0123456789:.-/[]abcdeftupsSCTP% \n\x00\xe9\uff18", max_size=30))
@example("9" * 10_000)
@example("0" * 10_000)
@example("x" * 10_000)
@example("::ffff:1.2.3.4%eth0:1:1")
@example("--\n")
def test_any_text_gives_specs_or_one_short_line_that_names_it(text: str) -> None:
    if message := refusal(text):
        assert message.startswith(repr(text[:80])[:-1])
        assert "\n" not in message
        assert len(message) < 1000


def test_ranges_of_one_length_are_paired() -> None:
    assert [(spec.host_ports, spec.container_port) for spec in parse_spec("8080-8082:80-82")] == [
        (PortRange.single(8080), 80),
        (PortRange.single(8081), 81),
        (PortRange.single(8082), 82),
    ]


def test_a_host_range_beside_one_container_port_is_a_pool() -> None:
    assert parse_spec("8080-8082:80/udp") == [PortSpec(80, Protocol.UDP, PortRange(8080, 8082))]


def test_a_container_range_alone_asks_for_dynamic_ports() -> None:
    assert parse_spec("80-81") == [PortSpec(80), PortSpec(81)]


@pytest.mark.parametrize(
    ("text", "host_ip"),
    [
        ("127.0.0.1:8080:80", IPv4Address("127.0.0.1")),
        ("[::1]:8080:80", IPv6Address("::1")),
        ("::1:8080:80", IPv6Address("::1")),
        ("[::ffff:127.0.0.1]:8080:80", IPv4Address("127.0.0.1")),
        ("[]:8080:80", None),
        (":8080:80", None),
    ],
)
def test_a_host_address_stands_first_with_or_without_brackets(
    text: str, host_ip: IPv4Address | IPv6Address | None
) -> None:
    assert parse_spec(text) == [PortSpec(80, host_ports=PortRange.single(8080), host_ip=host_ip)]


@pytest.mark.parametrize("name", ["eth0", "br-lan", "wlp3s0", "eth0.100", "0a", "_x", "a" * 15])
def test_an_interface_may_stand_for_the_address(name: str) -> None:
    expected = PortSpec(80, host_ports=PortRange.single(8080), interface=name)
    assert parse_spec(f"{name}:8080:80") == [expected]
    assert parse_spec(f"{name}::80/udp") == [PortSpec(80, Protocol.UDP, interface=name)]
    assert [str(each) for each in parse_spec(f"{name}:80-81:80-81")] == [
        f"{name}:80:80/tcp",
        f"{name}:81:81/tcp",
    ]


@pytest.mark.parametrize(
    "word",
    ["1.2.3", "12", "256.0.0.1", "-eth0", "eth 0", "eth/0", "a" * 16, "[eth0]", "eth0%1", "é0"],
)
def test_what_is_no_name_of_an_interface_is_a_broken_address(word: str) -> None:
    assert "is no IP address" in refusal(f"{word}:8080:80")


@pytest.mark.parametrize("word", ["localhost", "LOCALHOST", "tcp", "udp", "sctp"])
def test_words_that_are_mistakes_are_no_interface(word: str) -> None:
    assert "is no IP address" in refusal(f"{word}:8080:80")


@pytest.mark.parametrize("text", ["80", ":80", "0:80", "0-0:80", "::80", "[]::80"])
def test_no_host_port_or_port_0_asks_for_a_dynamic_one(text: str) -> None:
    assert parse_spec(text) == [PortSpec(80)]


@pytest.mark.parametrize(
    ("text", "reason", "mend"),
    [
        ("8080-8081-8090:80", "a host port range has one dash", "write 8080-8090"),
        ("80-81-82", "a container port range has one dash", "write 80-82"),
        ("0-5:80", "a host port range starts at 1 or later", "write 1-5"),
        ("8090-8080:80", "the host port range 8090-8080 runs backwards", "write 8080-8090"),
        ("80/tcp/udp", "one spec has one protocol", "give one -p for each protocol"),
        ("80/icmp", "'icmp' is no protocol whose ports can be published", "write tcp, udp or sctp"),
        ("65536:80", "the host port '65536' is too large", "the largest is 65535"),
        ("80x:80", "'80x' is no host port", "write a number from 0 to 65535"),
        (
            "br-lan:53/udp",
            "'br-lan' is no host port",
            "write a number from 0 to 65535, or br-lan::53/udp if it is an interface",
        ),
        ("8080:", "the container port is missing", "write 80, or 8080:80 with a host port"),
        ("", "the container port is missing", "write 80, or 8080:80 with a host port"),
        (
            "8080:80-82",
            "1 port of the host can't be paired with 3 ports of the container",
            "give both ranges the same length",
        ),
        (
            "[::1]:80",
            "behind the host address stand a host port and a container port",
            "write [::1]:8080:80, or [::1]::80 for a dynamic host port",
        ),
        (
            "[::1:8080:80",
            "the bracket before the host address is not closed",
            "write [::1]:8080:80",
        ),
        (
            "[::1]:1:2:80",
            "there are too many colons behind the host address",
            "write [::1]:8080:80",
        ),
        (
            "localhost:8080:80",
            "'localhost' is no IP address",
            "write one as 192.0.2.1 or [2001:db8::1]",
        ),
        (
            "[fe80::1%eth0]:8080:80",
            "'fe80::1%eth0' is no IP address",
            "write one as 192.0.2.1 or [2001:db8::1]",
        ),
    ],
)
def test_a_bad_spec_is_named_with_reason_and_mend(text: str, reason: str, mend: str) -> None:
    with pytest.raises(UnusableValue) as caught:
        parse_spec(text)
    assert str(caught.value) == f"{text!r}: {reason}; {mend}"

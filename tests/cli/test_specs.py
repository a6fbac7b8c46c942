from hypothesis import example, given
from hypothesis import strategies as st

from hostports import parse_spec
from hostports.cli.specs import check, plain
from tests.strategies import port_specs


@given(st.text("0123456789.:/-tcpudsTCP٣", max_size=20) | port_specs().map(str))
@example("127.0.0.1:8080:80/udp")
@example("127.0.0.01:8080:80")
@example("127.1:8080:80")
@example("1.2.3.4\x00:8080:80")
@example("1.2.3.4\udcff:8080:80")
@example("80/")
@example(":80")
@example("0:80")
@example("65536")
@example("٣")
@example("8080:080/sctp")
@example("[::1]:8080:80")
@example("[::1%lo]:8080:80")
@example("[127.0.0.1]:8080:80")
@example("::1]:8080:80")
@example("0-5:80")
@example("8010-8000:80")
@example("8000-8010:80-89")
@example("8000-8010-8020:80")
def test_what_is_plainly_a_spec_is_one_for_the_grammar_too(text: str) -> None:
    if plain(text):
        assert parse_spec(text)


def test_what_most_people_write_is_plain() -> None:
    single = ["80", "8080:80", "53:53/udp", "0:65535/tcp", "9000:9000/sctp", "127.0.0.1:1:1"]
    ranges = ["80-90", "8000-8010:80", "8000-8010:80-90/udp", "127.0.0.1:8000-8001:80"]
    ipv6 = ["[::1]:8080:80", "[::]:53:53/udp", "[2001:db8::1]:8000-8010:80"]
    assert all(map(plain, single + ranges + ipv6))


def test_what_is_not_plain_is_checked_by_the_grammar() -> None:
    check(["127.0.0.1::80", "[::1]::80", "[::1]:8080:00080", "080-90", "80/TCP"])

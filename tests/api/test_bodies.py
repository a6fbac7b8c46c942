"""Bodies as clients really send them: too large, cut, coded, empty, elsewhere."""

import gzip
import json

import pytest

from tests.api.fake_service import FakeService
from tests.api.serving import Api, received

MIB = 1 << 20
LIMIT = 4 * MIB
NETWORK = b'{"name": "lab"}'


def padded(size: int) -> bytes:
    """A network's body of so many bytes."""
    return NETWORK + b" " * (size - len(NETWORK))


def chunked(body: bytes, size: int = 65536) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


def sent(api: Api, head: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of what comes back for bytes of one's own."""
    with api.connect() as connection:
        connection.sendall(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body)
        top, _, rest = received(connection).partition(b"\r\n\r\n")
        return int(top.split()[1]), rest


def refused(answer: tuple[int, bytes]) -> tuple[int, str]:
    status, body = answer
    return status, json.loads(body)["error"]["code"]


def test_a_body_of_4_mib_is_taken(api: Api) -> None:
    assert api.call("POST", "/v1/networks", body=padded(LIMIT)).status == 201


def test_a_body_over_4_mib_is_refused_and_nothing_is_done(api: Api, service: FakeService) -> None:
    answer = api.call("POST", "/v1/networks", body=padded(LIMIT + 1))
    assert (answer.status, answer.code) == (413, "too_large")
    assert service.registry.networks() == []


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 201), (LIMIT + 1, 413), (3 * LIMIT, 413)])
def test_a_chunked_body_has_the_same_limit(
    api: Api, service: FakeService, size: int, status: int
) -> None:
    head = "POST /v1/networks HTTP/1.1\r\nTransfer-Encoding: chunked"
    answer = sent(api, head, chunked(padded(size)))
    assert answer[0] == status
    if status == 413:
        assert refused(answer) == (413, "too_large")
        assert service.registry.networks() == []


def test_a_large_body_is_refused_before_it_is_sent(api: Api) -> None:
    with api.connect() as connection:
        connection.sendall(
            b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/networks"), ("DELETE", "/v1/networks/lab"), ("POST", "/v1/reload")],
)
def test_a_large_body_is_refused_also_where_none_is_read(web: Api, method: str, path: str) -> None:
    answer = web.call(method, path, body=b"x" * (LIMIT + 1))
    assert (answer.status, answer.code) == (413, "too_large")


def test_a_body_that_nobody_asks_for_is_overlooked(web: Api) -> None:
    """RFC 9110 9.3.5 gives no meaning to a body there."""
    assert web.call("DELETE", "/v1/networks/lab?force=true", body=b"what?").status == 204
    assert web.call("GET", "/v1/networks", body=b"what?").status == 200


def test_a_bomb_is_refused_when_it_is_unpacked(api: Api) -> None:
    bomb = gzip.compress(padded(64 * MIB))
    head = f"POST /v1/networks HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}"
    assert refused(sent(api, head, bomb)) == (413, "too_large")


def test_a_packed_body_is_unpacked(api: Api) -> None:
    packed = gzip.compress(NETWORK)
    head = f"POST /v1/networks HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"
    assert sent(api, head, packed)[0] == 201


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Encoding: gzip\r\nContent-Length: 5", b"nogzi"),
        ("Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"2\r\n{}oops\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_breaks_off_is_refused(
    api: Api, caplog: pytest.LogCaptureFixture, headers: str, body: bytes
) -> None:
    """By us, or, where it is no HTTP at all, by aiohttp, which answers in plain text."""
    status, _ = sent(api, f"POST /v1/networks HTTP/1.1\r\n{headers}", body)
    assert status == 400
    assert not [each for each in caplog.records if each.name == "hostports.api"]


def test_a_client_that_hangs_up_in_the_middle_is_no_failure(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    with api.connect() as connection:
        connection.sendall(
            b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n" + NETWORK[:9]
        )
    assert api.call("GET", "/v1/health").status == 200
    assert service.registry.networks() == []
    assert not caplog.records


def test_a_client_that_waits_to_be_told_is_told_to_go_on(api: Api) -> None:
    """As curl does with larger bodies."""
    with api.connect() as connection:
        connection.sendall(
            b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(NETWORK)
        assert received(connection).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "no/such", ""])
def test_the_content_type_does_not_matter_if_it_is_json(api: Api, kind: str) -> None:
    head = f"POST /v1/networks HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(NETWORK)}"
    assert sent(api, head, NETWORK)[0] == 201


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"[]", "expected an object, got a list"),
        (b"null", "expected an object, got null"),
        (b'"lab"', "expected an object, got text"),
        (b"{", "it is no JSON"),
        (b'{"name": "lab"} {}', "it is no JSON: trailing characters"),
        (b"\xff\xfe{}", "it is no JSON"),
        (b'{"name": "\xff"}', "it is no JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"name": "\\ud800"}', "it is no JSON"),
        ('{"name": "lab"}'.encode("utf-16"), "it is no JSON"),
        (b'{"name": NaN}', "it is no JSON"),
        (b"name=lab", "it is no JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(api: Api, body: bytes, reason: str) -> None:
    answer = api.call("POST", "/v1/networks", body=body)
    assert (answer.status, answer.code) == (400, "unusable_input")
    assert answer.message.startswith(f"'request body': {reason}")
    assert answer.hint


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_ports_without_a_body_are_refused(web: Api, method: str) -> None:
    answer = web.call(method, "/v1/endpoints/web/ports")
    assert (answer.status, answer.code) == (400, "unusable_input")


def test_depth_hurts_nobody(api: Api) -> None:
    for body in (b"[" * MIB, b'{"name":' + b"[" * MIB, b'{"x":' * (MIB // 2)):
        assert api.call("POST", "/v1/networks", body=body).status == 400

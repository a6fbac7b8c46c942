"""The HTTP that the client speaks, without a socket."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostports.client.errors import ApiError, BadAnswer
from hostports.client.http import Answer, Documents, quote, request

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def sized(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def chunked(parts: Iterable[bytes]) -> bytes:
    chunks = b"".join(b"%X; note=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return CHUNKED + chunks + b"0\r\nTrailer: x\r\n\r\n"


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def answered(pieces: Iterable[bytes]) -> Answer:
    answer = Answer()
    for piece in pieces:
        answer.feed(piece)
    return answer


def complaint_about(pieces: Iterable[bytes]) -> str:
    """What is said of an answer that ends there; empty if it can be used."""
    try:
        answer = answered(pieces)
        answer.feed(b"")
        answer.document()
    except (ApiError, BadAnswer) as error:
        return str(error)
    return ""


places = st.lists(st.integers(0, 10_000), max_size=12)
documents = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=40), max_size=6)


@given(documents, places)
def test_an_answer_of_known_length_may_come_in_any_pieces(
    document: dict[str, Any], where: list[int]
) -> None:
    answer = answered(cut(sized(json.dumps(document).encode()), where))
    assert (answer.complete, answer.status, answer.document()) == (True, 200, document)


@given(documents, places, places)
def test_a_chunked_answer_may_come_in_any_pieces(
    document: dict[str, Any], chunks: list[int], where: list[int]
) -> None:
    parts = cut(json.dumps(document, ensure_ascii=False).encode(), chunks)
    answer = answered(cut(chunked(parts), where))
    assert (answer.complete, answer.document()) == (True, document)


@given(st.sampled_from([sized(b"{}"), chunked([b"{", b"}"])]), st.integers(0, 200))
def test_a_hang_up_before_the_end_is_told(data: bytes, end: int) -> None:
    answer = answered(cut(data[: min(end, len(data) - 1)], []))
    assert not answer.complete
    with pytest.raises(BadAnswer, match="ended in the middle"):
        answer.feed(b"")


@given(st.binary(max_size=300), places)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff", [])
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]", [])
@example(CHUNKED + b"3\r\n{}\r\n", [])
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, [])
def test_garbage_gives_one_clear_error(data: bytes, where: list[int]) -> None:
    for begin in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED):
        complaint = complaint_about(cut(begin + data, where))
        assert len(complaint) < 400
        assert "\n" not in complaint


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 099 OK\r\n",
        b"HTTP/1.1 +20 OK\r\n",
        b"HTTP/1.1 200 OK\r\n folded: 1\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n",
        b"HTTP/1.1 200 OK\r\nspace : 1\r\n",
        b"HTTP/1.1 200 OK\r\n: 1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: 1\r\n" * 101,
        b"HTTP/1.1 200 OK\r\na: " + b"a" * 70_000,
        CHUNKED + b"0x2\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"2\r\n{}{}\r\n",
    ],
)
def test_what_is_no_http_answer_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        answered([data])


def test_a_body_that_only_the_end_of_the_connection_ends_is_refused() -> None:
    """Whether it was cut off nobody could tell."""
    with pytest.raises(BadAnswer, match="how long"):
        answered([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}"])


def test_an_answer_without_content_is_an_empty_object() -> None:
    answer = answered([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert (answer.complete, answer.document()) == (True, {})


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert answered([interim, sized(b"{}")]).document() == {}


def test_a_large_answer_is_read_whole() -> None:
    document = {"text": "x" * 3_000_000}
    data = sized(json.dumps(document).encode())
    assert answered(cut(data, range(0, len(data), 65_536))).document() == document


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (404, {"error": {"code": "not_found", "message": "m", "hint": "h"}}, "not_found", "m; h"),
        (409, {"error": {"code": "conflict", "message": "m"}}, "conflict", "m"),
        (500, {"error": "odd"}, "failed", "the daemon answered with status 500"),
        (502, {}, "failed", "the daemon answered with status 502"),
    ],
)
def test_a_refusal_says_what_the_document_says(
    status: int, body: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(ApiError) as raised:
        answered([sized(json.dumps(body).encode(), status)]).document()
    assert (raised.value.status, raised.value.code, str(raised.value)) == (status, code, text)


def test_a_refusal_that_is_no_json_still_is_a_refusal() -> None:
    with pytest.raises(ApiError, match="status 502"):
        answered([sized(b"<html>", 502)]).document()


@given(st.lists(documents, max_size=5), places)
def test_a_stream_of_lines_may_come_in_any_pieces(
    sent: Sequence[dict[str, Any]], where: list[int]
) -> None:
    stream = Documents()
    data = b"".join(json.dumps(each).encode() + b"\n" for each in sent)
    assert [each for piece in cut(data, where) for each in stream.feed(piece)] == sent


def test_a_request_says_how_long_it_is_and_that_it_is_the_only_one() -> None:
    head, _, body = request("POST", "/v1/plan", {"endpoint": "wéb"}).partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /v1/plan HTTP/1.1"
    assert b"Connection: close" in head
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"endpoint": "wéb"}


def test_a_request_without_a_body_has_none() -> None:
    assert request("GET", "/v1/ports").endswith(b"close\r\n\r\n")
    assert request("POST", "/v1/reload").endswith(b"Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("web-1.a_b~", "web-1.a_b~"),
        ("a/b?c#d e%", "a%2Fb%3Fc%23d%20e%25"),
        ("ü", "%C3%BC"),
        ("\udcff", "%FF"),
        ("a\r\nHost: x", "a%0D%0AHost%3A%20x"),
    ],
)
def test_a_name_stays_one_segment_of_a_path(name: str, segment: str) -> None:
    assert quote(name) == segment

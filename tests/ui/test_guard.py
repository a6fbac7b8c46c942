"""Who is let in to the page, by what a request says of itself."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostports.ui.guard import Asked, objection

TOKEN = "abcDEF123-_"  # noqa: S105 - of nothing
GOOD = Asked("GET", "127.0.0.1", "127.0.0.1:8080", token=TOKEN)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"peer": "127.8.8.8"},
        {"host": "127.0.0.1"},
        {"host": "localhost:9000"},  # ssh -L may have another port
        {"host": "LocalHost:9000"},
        {"site": "none"},
        {"site": "same-origin", "origin": "http://127.0.0.1:8080"},
        {"token": "", "authorization": f"Bearer {TOKEN}"},
        {"token": "wrong", "authorization": f"Bearer {TOKEN}"},
    ],
)
def test_whoever_has_the_token_on_this_host_is_let_in(changes: dict[str, str]) -> None:
    assert objection(GOOD._replace(**changes), TOKEN) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"token": ""}, "token"),
        ({"token": TOKEN[:-1]}, "token"),
        ({"token": f"{TOKEN} "}, "token"),
        ({"token": TOKEN.lower()}, "token"),
        ({"token": "ключ"}, "token"),
        ({"token": "\udcff"}, "token"),
        ({"authorization": "Bearer wrong"}, "token"),
        ({"authorization": "Bearer "}, "token"),
        ({"token": "", "authorization": f"Basic {TOKEN}"}, "token"),
        ({"token": "", "authorization": TOKEN}, "token"),
        ({"peer": "10.9.0.2"}, "this host itself"),
        ({"peer": ""}, "this host itself"),
        ({"host": "evil.example:8080"}, "no other name"),
        ({"host": "127.0.0.1.evil.example:8080"}, "no other name"),
        ({"host": "127.0.0.1@evil.example"}, "no other name"),
        ({"host": "localhost.evil.example"}, "no other name"),
        ({"host": "10.9.0.1:8080"}, "no other name"),
        ({"host": ""}, "no other name"),
        ({"site": "cross-site"}, "another site"),
        ({"site": "same-site"}, "another site"),  # another port of this host is one
        ({"origin": "http://evil.example"}, "another site"),
        ({"origin": "http://127.0.0.1:8081"}, "another site"),
        ({"origin": "null"}, "another site"),
    ],
)
def test_everybody_else_is_refused(changes: dict[str, str], why: str) -> None:
    refused = objection(GOOD._replace(**changes), TOKEN)
    assert refused is not None
    assert refused.status is HTTPStatus.FORBIDDEN
    assert why in refused.why


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get"])
def test_the_page_only_looks(method: str) -> None:
    refused = objection(GOOD._replace(method=method), TOKEN)
    assert refused is not None
    assert refused.status is HTTPStatus.METHOD_NOT_ALLOWED


@given(st.text(), st.text())
def test_no_other_token_fits(token: str, authorization: str) -> None:
    asked = GOOD._replace(token=token, authorization=authorization)
    right = token == TOKEN or authorization == f"Bearer {TOKEN}"
    assert right or objection(asked, TOKEN) is not None

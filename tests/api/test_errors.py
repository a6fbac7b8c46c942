import logging

import pytest

from hostports import errors
from hostports.api.errors import TOLD
from hostports.errors import HostportsError, Kind
from tests.api.fake_service import FakeService
from tests.api.serving import Api

STATUS = {
    Kind.UNUSABLE: (400, "unusable_input"),
    Kind.NOT_PERMITTED: (403, "not_permitted"),
    Kind.NOT_FOUND: (404, "not_found"),
    Kind.CONFLICT: (409, "conflict"),
    Kind.FAILED: (500, "failed"),
    Kind.EXHAUSTED: (507, "no_port_free"),
}


def raised(kind: Kind) -> HostportsError:
    error = HostportsError("it is broken", "mend it")
    error.kind = kind  # type: ignore[misc] # one class for all kinds is enough here
    return error


def test_every_kind_has_a_status() -> None:
    assert set(TOLD) == set(STATUS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_an_error_of_ours_is_told_with_status_code_message_and_hint(
    api: Api, service: FakeService, kind: Kind
) -> None:
    service.broken = raised(kind)
    answer = api.call("POST", "/v1/reload")
    assert (answer.status, answer.code) == STATUS[kind]
    assert answer.document["error"] == {
        "code": STATUS[kind][1],
        "message": "it is broken",
        "hint": "mend it",
    }
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.HostPortInUse("0.0.0.0:80/tcp", "nginx (pid 812)"), 409),
        (errors.NoPortFree("every port is taken"), 507),
        (errors.NoAddressFree("every address is taken"), 507),
        (errors.NotPermitted("may not"), 403),
        (errors.FirewallFailed("nft refuses"), 500),
        (errors.ReleaseFailed([ValueError("one"), ValueError("two")]), 500),
    ],
)
def test_errors_keep_their_words(
    api: Api, service: FakeService, error: HostportsError, status: int
) -> None:
    service.broken = error
    answer = api.call("POST", "/v1/reload")
    assert answer.status == status
    assert answer.document["error"]["message"] == error.message
    assert answer.document["error"]["hint"] == error.hint


def test_a_surprise_is_logged_and_not_shown(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.broken = ZeroDivisionError("secret")
    service.broken.add_note("while undoing: more secrets")
    answer = api.call("POST", "/v1/reload")
    assert (answer.status, answer.code) == (500, "failed")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("hostports.api", logging.ERROR)
    assert record.exc_info is not None
    assert "while undoing: more secrets" in caplog.text


def test_a_connection_that_the_daemon_lost_is_a_failure_of_ours(
    api: Api, service: FakeService
) -> None:
    """It must not be taken for the client's, which would get no answer."""
    service.broken = ConnectionResetError("the relay's")
    assert api.call("POST", "/v1/reload").status == 500


def test_what_went_wrong_while_undoing_is_logged(
    api: Api, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.broken = raised(Kind.CONFLICT)
    service.broken.add_note("while undoing: the relay is gone")
    assert api.call("POST", "/v1/reload").status == 409
    assert "it is broken; mend it; while undoing: the relay is gone" in caplog.text


def test_a_refusal_is_not_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked knows it, and anybody could fill the log."""
    assert api.call("GET", "/v1/networks/nobody").status == 404
    assert not caplog.records


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/networks", "/v1/networks/", "/v1//x"])
def test_a_path_that_leads_nowhere_is_not_found(api: Api, path: str) -> None:
    answer = api.call("GET", path)
    assert (answer.status, answer.code) == (404, "not_found")
    assert path in answer.message


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_refused_with_those_that_are_allowed(api: Api, method: str) -> None:
    answer = api.call(method, "/v1/networks")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert answer.hint == "use GET,HEAD,POST"


def test_conflicts_name_the_holder(web: Api) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080:80"]})
    answer = web.call("POST", "/v1/endpoints/web/ports", {"specs": ["8080:81"]})
    assert (answer.status, answer.code) == (409, "conflict")
    assert "0.0.0.0:8080/tcp and [::]:8080/tcp are published by endpoint 'web'" in answer.message


def test_a_pool_without_a_free_port_is_exhausted(web: Api) -> None:
    web.made("/v1/endpoints/web/ports", {"specs": ["8080-8081:80", "8080-8081:81"]})
    answer = web.call("POST", "/v1/endpoints/web/ports", {"specs": ["8080-8081:82"]})
    assert (answer.status, answer.code) == (507, "no_port_free")


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/networks", {"name": "lab"}),
        ("/v1/networks", {"name": "other", "bridge": "hp-lab"}),
        ("/v1/networks", {"name": "other", "subnets": ["10.0.0.0/16"]}),
        ("/v1/networks/lab/endpoints", {"name": "web", "pid": 1}),
        ("/v1/networks/lab/endpoints", {"name": "db", "addresses": ["10.0.0.2"]}),
    ],
)
def test_what_is_taken_is_a_conflict(
    web: Api, service: FakeService, path: str, document: dict[str, object]
) -> None:
    before = service.dump()
    answer = web.call("POST", path, document)
    assert (answer.status, answer.code) == (409, "conflict")
    assert service.dump() == before

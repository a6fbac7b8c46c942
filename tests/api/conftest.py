"""A served fake, and what it has."""

from collections.abc import Iterator

import pytest

from tests.api.fake_service import FakeService
from tests.api.serving import Api, serving


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as served:
        yield served


@pytest.fixture
def service(api: Api) -> FakeService:
    return api.service


@pytest.fixture
def web(api: Api) -> Api:
    """The same with a network ``lab`` and an endpoint ``web`` on it."""
    api.service.furnish()
    return api

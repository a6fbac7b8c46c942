"""What a route is, and what its handler is called with."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Generic, TypeAlias, TypeVar

from hostports.api.schema import Answer, Nothing, Request
from hostports.api.service import Service
from hostports.model.published import ALL_WAYS, Ways

Asked = TypeVar("Asked", bound=Request)

#: An answer as JSON; text that is written already; lines of JSON as they come; or nothing.
Answered: TypeAlias = Answer | bytes | AsyncGenerator[Answer, None] | None


class Media(Enum):
    """How an answer is written."""

    JSON = "application/json"
    LINES = "application/x-ndjson"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"

    @property
    def essence(self) -> str:
        """The type without its parameters."""
        return self.value.partition(";")[0]


class Carrier(Enum):
    """Which part of a request carries what is asked."""

    BODY = "body"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Serving:
    """What all calls have in common.

    `ways` are those by which ports can be reached, also planned ones.
    """

    service: Service
    version: str
    ways: Ways = ALL_WAYS


@dataclass(frozen=True, slots=True)
class Call(Generic[Asked]):
    """One request: what is asked, and the `name` in its path, if that has one.

    What its handler pushes on `afterwards` is done when the answer has been sent, or can't be.
    """

    serving: Serving
    name: str
    asked: Asked
    afterwards: AsyncExitStack

    @property
    def service(self) -> Service:
        """Whom to ask."""
        return self.serving.service


@dataclass(frozen=True, slots=True)
class Route(Generic[Asked]):
    """A method on a path: who handles it, what it takes and what it gives.

    `answer` is the type of an answer, or of each line of one; None where there is nothing to say.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[Call[Asked]], Awaitable[Answered]]
    answer: type[Answer] | None = None
    status: HTTPStatus = HTTPStatus.OK
    asks: type[Asked] | type[Nothing] = Nothing
    carrier: Carrier = Carrier.QUERY
    media: Media = Media.JSON

    @property
    def named(self) -> bool:
        """Whether the path has a name in it."""
        return "{name}" in self.path

    @property
    def changes(self) -> bool:
        """Whether something may be different afterwards."""
        return self.method != "GET"

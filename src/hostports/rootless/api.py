"""RootlessKit's HTTP API: JSON on a Unix socket, one call a connection."""

import json
import socket
from pathlib import Path
from typing import Any, Final

from hostports.client.errors import BadAnswer
from hostports.client.http import Answer, Json, request
from hostports.errors import PortDriverFailed

#: Seconds for an answer, which takes milliseconds.
_PATIENCE_S: Final = 30.0
_RECEIVED: Final = 1 << 17


class Refused(Exception):
    """RootlessKit said no, and in `message` why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class Api:
    """Asks whoever listens at a path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:  # noqa: ANN401 - JSON
        """What it answers, decoded; None if that is nothing.

        Raises `Refused`, or `PortDriverFailed` if it gives no answer that can be used.
        """
        try:
            status, content = self._exchanged(request(method, path, body))
            if not 200 <= status < 300:
                raise Refused(status, _reason(content))
            return json.loads(content) if content else None
        except OSError as error:
            raise self._silent(error.strerror or str(error)) from error
        except (BadAnswer, ValueError, RecursionError) as error:
            raise self._silent(str(error)) from error

    def _exchanged(self, message: bytes) -> tuple[int, bytes]:
        answer = Answer()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(self._path))
            connection.sendall(message)
            while not answer.complete:
                answer.feed(connection.recv(_RECEIVED))
        return answer.status, answer.take()

    def _silent(self, reason: str) -> PortDriverFailed:
        return PortDriverFailed(
            f"RootlessKit gives no answer at {self._path}: {reason.lower()}",
            "see that it runs, and that $ROOTLESSKIT_STATE_DIR is its --state-dir",
        )


def _reason(content: bytes) -> str:
    """The message of a refusal; of one that isn't JSON its text."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return content.decode(errors="replace").strip()

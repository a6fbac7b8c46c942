"""Errors as CNI has them: a number, and words (CNI 1.1.0, section 2, "Error")."""

from typing import Final

from hostports.client.errors import DaemonUnreachable
from hostports.errors import HostportsError, Kind, without_waiting

INCOMPATIBLE_VERSION: Final = 1
INVALID_ENVIRONMENT: Final = 4
IO_FAILURE: Final = 5
UNDECODABLE: Final = 6
INVALID_CONFIG: Final = 7
TRY_AGAIN: Final = 11
NOT_AVAILABLE: Final = 50
# From 100 on they are the plugin's own.
CONFLICT: Final = 100
NOT_PUBLISHED: Final = 101
FAILED: Final = 102

_OF_KIND: Final = {
    Kind.CONFLICT: CONFLICT,
    Kind.EXHAUSTED: CONFLICT,
    Kind.UNUSABLE: INVALID_CONFIG,
    Kind.NOT_FOUND: INVALID_CONFIG,
}


class CniError(Exception):
    """What a runtime is told: `code`, one line, and in `details` what to do about it."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def told(error: HostportsError) -> CniError:
    """What went wrong at the daemon, or on the way to it, as CNI says it.

    A daemon that can't be reached is one that is being started anew: try again later.
    """
    if isinstance(error, DaemonUnreachable):
        error.offer('name its socket by the key "socket" of the list of plugins')
        return CniError(TRY_AGAIN, error.message, error.hint)
    return CniError(_OF_KIND.get(error.kind, FAILED), error.message, without_waiting(error.hint))

"""What an error means for programs: a code and an exit status (INTERFACE.md)."""

from typing import Final

from hostports.client.errors import ApiError, DaemonUnreachable
from hostports.errors import HostportsError, Kind

_CODES: Final = {
    Kind.UNUSABLE: "unusable_input",
    Kind.CONFLICT: "conflict",
    Kind.NOT_FOUND: "not_found",
    Kind.NOT_PERMITTED: "not_permitted",
    Kind.EXHAUSTED: "no_port_free",
    Kind.FAILED: "failed",
}
_STATUSES: Final = {
    Kind.UNUSABLE: 2,
    Kind.CONFLICT: 4,
    Kind.EXHAUSTED: 4,
    Kind.NOT_FOUND: 5,
    Kind.NOT_PERMITTED: 6,
}
_UNREACHABLE: Final = 3


def code_of(error: HostportsError) -> str:
    """The word for an error; the daemon's own if it said one."""
    if isinstance(error, ApiError):
        return error.code
    return "unreachable" if isinstance(error, DaemonUnreachable) else _CODES[error.kind]


def status_of(error: HostportsError) -> int:
    """The exit status for an error."""
    return _UNREACHABLE if isinstance(error, DaemonUnreachable) else _STATUSES.get(error.kind, 1)

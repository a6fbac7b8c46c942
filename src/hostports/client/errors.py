"""What can go wrong between a client and the daemon."""

from typing import Any, Final

from hostports.errors import HostportsError, Kind, NoPortFree, NotFound, NotPermitted

_START: Final = "start it with `systemctl start hostports` or `hostports daemon`"


class DaemonUnreachable(HostportsError):
    """No daemon listens at the socket, or it doesn't answer."""

    def __init__(self, socket: str, reason: str, mend: str = _START) -> None:
        super().__init__(f"no daemon answers at {socket} ({reason})", mend)

    def offer(self, way: str) -> None:
        """Say how another socket is named, to somebody who may have meant one."""
        self.hint += f", or {way}"


class DaemonSilent(DaemonUnreachable):
    """A daemon is there, but took or said nothing for so many seconds."""

    def __init__(self, socket: str, seconds: float) -> None:
        reason = f"silent for {seconds:g} seconds"
        super().__init__(socket, reason, "see how it is by `systemctl status hostports`")


class SocketForbidden(NotPermitted):
    """The daemon's socket is not for everybody, and we are not among those it is for."""

    def __init__(self, socket: str) -> None:
        super().__init__(
            f"{socket} may not be opened",
            f"run as root, or join the group that `ls -l {socket}` shows",
        )


class BadAnswer(HostportsError):
    """What came from the socket is no HTTP answer, or was cut off in the middle."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the daemon's answer can't be used: {reason}", "see the daemon's log")


class ApiError(HostportsError):
    """The daemon refused a call: `code` is its word for why, `status` the HTTP status.

    It is a `NotFound`, `NotPermitted` or `NoPortFree` as well where the code says so; for other
    codes look at `kind` or `code`.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class ApiUnusable(ApiError):
    """The daemon can't use what it was sent."""

    kind = Kind.UNUSABLE


class ApiConflict(ApiError):
    """A port or name is taken, or something is still in use."""

    kind = Kind.CONFLICT


class ApiNotFound(ApiError, NotFound):
    """There is no network, endpoint or published port of that name."""


class ApiNotPermitted(ApiError, NotPermitted):
    """The daemon has no right to do that, or we have none to ask for it."""


class ApiNoPortFree(ApiError, NoPortFree):
    """Every port that would do is taken."""


_BY_CODE: Final[dict[str, type[ApiError]]] = {
    "unusable_input": ApiUnusable,
    "method_not_allowed": ApiUnusable,
    "too_large": ApiUnusable,
    "conflict": ApiConflict,
    "not_found": ApiNotFound,
    "not_permitted": ApiNotPermitted,
    "no_port_free": ApiNoPortFree,
}


def refusal(status: int, document: dict[str, Any]) -> ApiError:
    """The error that an error document stands for; one without a document is ``failed``."""
    found = document.get("error")
    error = found if isinstance(found, dict) else {}
    code = str(error.get("code") or "failed")
    message = str(error.get("message") or f"the daemon answered with status {status}")
    return _BY_CODE.get(code, ApiError)(status, code, message, str(error.get("hint") or ""))

"""Who is let in: decided from a request's head, before anything else is done with it."""

import hmac
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, NamedTuple

#: What a browser says of a request that no other site has made (Fetch Metadata).
_OWN_SITE: Final = ("", "none", "same-origin")
_BEARER: Final = "Bearer "
#: Names that lead here wherever they are looked up. A name of somebody else's could be made to
#: (DNS rebinding); the port is left open, as `ssh -L` may have another one.
_OUR_NAMES: Final = ("127.0.0.1", "localhost")


class Asked(NamedTuple):
    """What a request says of itself: empty where it says nothing."""

    method: str
    peer: str
    host: str
    origin: str = ""
    site: str = ""
    authorization: str = ""
    token: str = ""


class Refused(NamedTuple):
    """Why a request is not served."""

    status: HTTPStatus
    why: str


def objection(asked: Asked, token: str) -> Refused | None:
    """Why a request is refused; None lets it in."""
    if not _is_loopback(asked.peer):
        return Refused(HTTPStatus.FORBIDDEN, "only this host itself is served")
    if asked.host.partition(":")[0].lower() not in _OUR_NAMES:
        return Refused(HTTPStatus.FORBIDDEN, "the page is at 127.0.0.1 and under no other name")
    if asked.site not in _OWN_SITE or asked.origin not in ("", f"http://{asked.host}"):
        return Refused(HTTPStatus.FORBIDDEN, "another site has no business here")
    if asked.method != "GET":
        return Refused(HTTPStatus.METHOD_NOT_ALLOWED, "the page only looks")
    if not _matches(_shown(asked), token):
        return Refused(HTTPStatus.FORBIDDEN, "the token is wrong; `hostports ui` prints the URL")
    return None


def _shown(asked: Asked) -> str:
    """The token of a request: of its URL, or, for all that the page itself asks, of a header."""
    if asked.authorization.startswith(_BEARER):
        return asked.authorization.removeprefix(_BEARER)
    return asked.token


def _matches(given: str, token: str) -> bool:
    """Whether a token is right, in a time that doesn't tell how much of it is."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), token.encode())


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False

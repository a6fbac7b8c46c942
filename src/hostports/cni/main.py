"""The way in: a runtime calls with environment and standard input, and reads standard output."""

import os
import sys
from collections.abc import Callable, Mapping
from json import dumps, loads
from typing import BinaryIO, Final, TextIO

from hostports.client.http import Json
from hostports.client.sync import PATIENCE_S, Client
from hostports.cni import verbs
from hostports.cni.errors import IO_FAILURE, CniError, told
from hostports.cni.request import VERSIONS, Request, parse_request
from hostports.errors import HostportsError

_DONE: Final[dict[str, Callable[[Client, Request], Json | None]]] = {
    "ADD": verbs.add,
    "DEL": verbs.delete,
    "CHECK": verbs.check,
    "GC": verbs.collect,
    "STATUS": lambda client, _: verbs.status(client),
}
#: Seconds for STATUS, which is asked again and again.
_STATUS_PATIENCE_S: Final = 3.0
_HELP: Final = """\
hostports-cni: a CNI plugin that publishes ports of containers; container runtimes call it.
How to set it up: docs/cni.md
"""


def main() -> int:
    """Do what this process was started for; its exit status."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.stdout.write(_HELP)
        return 0
    return run(os.environ, sys.stdin.buffer, sys.stdout)


def run(
    environment: Mapping[str, str], given: BinaryIO, out: TextIO, patience_s: float = PATIENCE_S
) -> int:
    """One call: the result, if the verb has one, or the error goes to `out`; 0 or 1.

    A daemon may be silent for `patience_s`.
    """
    text = b""
    try:
        text = _read(given)
        answer, failed = _answer(parse_request(environment, text), patience_s), 0
    except CniError as error:
        answer, failed = _document(error, text), 1
    if answer is not None:
        print(dumps(answer), file=out)
    return failed


def _read(given: BinaryIO) -> bytes:
    try:
        return given.read()
    except OSError as error:
        raise CniError(IO_FAILURE, f"standard input can't be read: {error.strerror}") from None


def _answer(request: Request, patience_s: float) -> Json | None:
    if request.verb == "VERSION":
        asked = request.config.get("cniVersion", VERSIONS[-1])
        return {"cniVersion": asked, "supportedVersions": list(VERSIONS)}
    if request.verb == "STATUS":
        patience_s = min(patience_s, _STATUS_PATIENCE_S)
    client = Client(request.text("socket"), patience_s=patience_s)
    try:
        return _DONE[request.verb](client, request)
    except HostportsError as error:
        raise told(error) from error


def _document(error: CniError, text: bytes) -> Json:
    document = {"cniVersion": _version(text), "code": error.code, "msg": str(error)}
    return {**document, "details": error.details} if error.details else document


def _version(text: bytes) -> str:
    """The version that an error is told in: the configuration's, if it has one that is ours."""
    try:
        version = loads(text)["cniVersion"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    return version if version in VERSIONS else VERSIONS[-1]

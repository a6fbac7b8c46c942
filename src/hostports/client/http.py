"""HTTP/1.1 as far as the API needs it, without a socket: what to send, and what comes in pieces.

Importing http.client costs more than a bare interpreter's start, and these lines next to nothing.
"""

from collections.abc import Generator
from json import dumps, loads
from typing import Any, Final, TypeAlias, TypeVar

from hostports.client.errors import BadAnswer, refusal

T = TypeVar("T")
#: A JSON object as it comes decoded from the API.
Json: TypeAlias = dict[str, Any]
#: A part of an answer being read: it waits at each `yield` for more bytes.
Part: TypeAlias = Generator[None, None, T]

#: Bytes of a status line, a header or a chunk's size (h11 and nginx: 8 to 64 KiB).
_LONGEST_LINE: Final = 65536
_MOST_HEADERS: Final = 100
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")
_WITHOUT_BODY: Final = (204, 304)
#: Digits of a length that is meant; 16 hexadecimal ones are 64 bits.
_LONGEST_NUMBER: Final = 16
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)


def quote(name: str) -> str:
    """A name as a segment of a path (RFC 3986 2.1)."""
    encoded = name.encode(errors="surrogateescape")
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in encoded)


def request(method: str, path: str, body: Json | None = None) -> bytes:
    """The bytes of a request, after which the server hangs up."""
    lines = [f"{method} {path} HTTP/1.1", "Host: hostports", "Connection: close"]
    content = b"" if body is None else dumps(body).encode()
    if body is not None:
        lines.append("Content-Type: application/json")
    if method != "GET":
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


class Answer:
    """An answer that comes in pieces, cut anywhere.

    `status` is 0 until the headers are there; `complete` says that nothing more belongs to it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self._headers: dict[bytes, bytes] = {}
        self._incoming = bytearray()
        self._body: list[bytes] = []
        self._steps = self._read()
        next(self._steps)

    def feed(self, data: bytes) -> None:
        """Take what was received; nothing means that the server hung up. Raises `BadAnswer`."""
        if self.complete:
            return
        if not data:
            raise BadAnswer("the connection ended in the middle of it")
        self._incoming += data
        self.complete = next(self._steps, self) is self

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        body = b"".join(self._body)
        self._body.clear()
        return body

    def document(self) -> Json:
        """A complete answer's JSON object, an empty one if there is no body.

        Raises `ApiError` if the daemon refused, and `BadAnswer` if it isn't JSON.
        """
        if self.status in _WITHOUT_BODY:
            return {}
        if 200 <= self.status < 300:
            return decoded(self.take())
        try:
            document = decoded(self.take())
        except BadAnswer:
            document = {}
        raise refusal(self.status, document)

    def _read(self) -> Part[None]:
        while self.status < 200:  # 100 Continue and its like precede the real answer
            yield from self._read_head()
        encoding = self._headers.get(b"transfer-encoding")
        length = self._headers.get(b"content-length")
        if self.status in _WITHOUT_BODY:
            return
        if encoding is None and length is None:
            raise BadAnswer("it doesn't say how long it is")
        if encoding is None:
            yield from self._read_exactly(_number(length or b"", base=10))
        elif encoding.lower() == b"chunked" and length is None:
            yield from self._read_chunks()
        else:
            raise BadAnswer(f"its transfer encoding is {encoding!r}")

    def _read_head(self) -> Part[None]:
        line = yield from self._read_line()
        version, _, rest = line.partition(b" ")
        status = rest.partition(b" ")[0]
        if version not in _VERSIONS or len(status) != 3 or not status.isdigit() or status < b"100":
            raise BadAnswer(f"it begins with {line[:40]!r}")
        yield from self._read_headers()
        self.status = int(status)

    def _read_headers(self) -> Part[None]:
        self._headers.clear()
        for _ in range(_MOST_HEADERS):
            line = yield from self._read_line()
            if not line:
                return
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise BadAnswer(f"{line[:40]!r} is no header")
            key, value = name.lower(), value.strip()
            before = self._headers.get(key)
            self._headers[key] = value if before is None else b"%b, %b" % (before, value)
        raise BadAnswer(f"it has more than {_MOST_HEADERS} headers")

    def _read_chunks(self) -> Part[None]:
        size = 1
        while size:
            line = yield from self._read_line()
            size = _number(line.partition(b";")[0].strip(), base=16)
            if size:
                yield from self._read_exactly(size)
                if (yield from self._read_line()):
                    raise BadAnswer("a chunk is longer than it says")
        yield from self._read_headers()  # trailers, which mean nothing here

    def _read_line(self) -> Part[bytes]:
        while (end := self._incoming.find(b"\r\n")) < 0:
            if len(self._incoming) > _LONGEST_LINE:
                raise BadAnswer("a line is too long")
            yield
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 2]
        return line

    def _read_exactly(self, size: int) -> Part[None]:
        while size:
            if not self._incoming:
                yield
            piece = bytes(self._incoming[:size])
            del self._incoming[:size]
            self._body.append(piece)
            size -= len(piece)


class Documents:
    """A stream of JSON objects, one a line, that comes in pieces."""

    def __init__(self) -> None:
        self._incoming = b""

    def feed(self, data: bytes) -> list[Json]:
        """The objects that are complete now. Raises `BadAnswer`."""
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        return [decoded(line) for line in lines if line.strip()]


def decoded(text: bytes) -> Json:
    """The JSON object that a text is. Raises `BadAnswer`."""
    try:
        document = loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BadAnswer(f"{text[:40]!r} is no JSON object")
    return document


def _number(digits: bytes, *, base: int) -> int:
    """A length as it is written; int() alone would take signs, underscores and spaces."""
    allowed = b"0123456789" if base == 10 else b"0123456789abcdefABCDEF"
    if not digits or digits.strip(allowed) or len(digits) > _LONGEST_NUMBER:
        raise BadAnswer(f"{digits[:40]!r} is no length")
    return int(digits, base)

"""The page as one document: its style and script inside, and the policy that admits only these."""

import base64
import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

#: Where they go in the document.
_STYLE: Final = "/* page.css */"
_SCRIPT: Final = "/* page.js */"


class Document(NamedTuple):
    """An HTML document, and its Content-Security-Policy."""

    html: str
    policy: str


def document() -> Document:
    """The page. It loads nothing, is framed by nobody, and asks only whoever served it."""
    style, script = _part("page.css"), _part("page.js")
    html = _part("page.html").replace(_STYLE, style).replace(_SCRIPT, script)
    directives = (
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "connect-src 'self'",
        "img-src data:",  # an empty icon, so that none is asked for
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return Document(html, "; ".join(directives))


def _part(name: str) -> str:
    return files("hostports.ui").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

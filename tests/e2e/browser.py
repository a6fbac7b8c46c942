"""A headless Chromium in a namespace, driven by the DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import select
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.netns.namespaces import Namespace
from tests.relay.waiting import PATIENCE_S, eventually

Json = dict[str, Any]

#: It is the root of a test's namespace, and asks nobody anything by itself.
_CHROMIUM: Final = (
    *("chromium-headless-shell", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe"),
)
#: Where Chromium reads commands from, and writes answers to (dash knows only one digit).
_PIPES: Final = 'exec "$@" 3<&{commands} 4>&{answers}'


class Tab:
    """An open page: what it logs and asks for is remembered."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._incoming = b""
        self._session: Json = {}
        self._number = 0
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for each in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{each}.enable")

    def tell(self, method: str, **params: object) -> Json:
        """Give a command, and wait for what comes of it."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") != self._number:
                self._remember(message)
                continue
            assert "error" not in message, (method, message)
            result: Json = message["result"]
            return result

    def open(self, url: str) -> None:
        """Go to a page, and wait until its script has run."""
        self.tell("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def ask(self, script: str) -> Any:  # noqa: ANN401 - what the script gives
        """What a script gives in the page."""
        found = self.tell(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, (script, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until a script gives something true."""
        eventually(lambda: self.ask(f"Boolean({script})"), script)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press a key: a character, or one with a name, a code and the text that it gives."""
        how = {"key": key, "windowsVirtualKeyCode": code, "text": text or key}
        self.tell("Input.dispatchKeyEvent", type="keyDown", **how)
        self.tell("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def prefer(self, scheme: str) -> None:
        """Prefer light or dark, as the system's settings do."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.tell("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, width: int, height: int) -> bytes:
        """The page as a PNG."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        return b64decode(self.tell("Page.captureScreenshot", format="png")["data"])

    def _message(self) -> Json:
        deadline = monotonic() + PATIENCE_S
        while b"\0" not in self._incoming:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - monotonic()))
            assert ready, "the browser says nothing"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser has ended"
            self._incoming += piece
        line, _, self._incoming = self._incoming.partition(b"\0")
        message: Json = json.loads(line)
        return message

    def _remember(self, message: Json) -> None:
        method, params = message["method"], message["params"]
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown" or (
            method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning")
        ):
            self.complaints.append(json.dumps(params))


@contextmanager
def browsing(where: Namespace, folder: Path) -> Iterator[Tab]:
    """A tab of a new browser in a namespace, for a `with` block."""
    theirs, commands = os.pipe()
    answers, ours = os.pipe()
    script = _PIPES.format(commands=theirs, answers=ours)
    command = ["bash", "-c", script, "bash", *_CHROMIUM, f"--user-data-dir={folder}"]
    with where.entered():
        browser = subprocess.Popen(
            command, pass_fds=[theirs, ours], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    os.close(theirs)
    os.close(ours)
    try:
        yield Tab(commands, answers)
    finally:
        os.close(commands)  # it ends by itself then
        try:
            browser.wait(PATIENCE_S)
        finally:
            browser.kill()
            browser.wait()
            os.close(answers)

"""Debian's Chromium without a window, driven by its DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/; messages are JSON, each ended by a NUL.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

# The shell is the same engine without the desktop around it: it starts in a tenth of the time.
PROGRAM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
_PATIENCE = 120.0
# CSS pixels of a picture.
_HIGHEST = 12_000
# The colour behind a text is that of the nearest ancestor that has one.
_CONTRAST = """
(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = rgb(colour).slice(0, 3).map((one) => {
      const c = one / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      const [, , , alpha] = rgb(colour);
      if (alpha === undefined || alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const bad = new Set();
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    if (!own || node.closest("script, title, [hidden], .skip, .print")) continue;
    const style = getComputedStyle(node);
    const svg = node.namespaceURI.endsWith("svg");
    const pair = [light(svg ? style.fill : style.color), light(behind(node))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      bad.add(`${node.tagName} ${node.getAttribute("class")}: ${ratio.toFixed(2)}`);
    }
  }
  return [...bad];
})()
"""


class Browser:
    """A running browser; `events` holds all that it told unasked, in order."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process = process
        self._write, self._read = write, read
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(read, selectors.EVENT_READ)
        self._bytes = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._write, rest) :]
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._next(deadline)
            if answer is None:
                raise TimeoutError(f"Chromium did not answer {method}.")
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait(self, method: str, session: str) -> None:
        """Wait for an event."""
        deadline = time.monotonic() + _PATIENCE
        while not any(
            e.get("method") == method and e.get("sessionId") == session for e in self.events
        ):
            event = self._next(deadline)
            if event is None:
                raise TimeoutError(f"Chromium did not tell {method}.")
            self.events.append(event)

    def listen(self, seconds: float) -> None:
        """Take in what the browser tells during a while."""
        deadline = time.monotonic() + seconds
        while (event := self._next(deadline)) is not None:
            self.events.append(event)

    def _next(self, deadline: float) -> dict[str, Any] | None:
        while b"\0" not in self._bytes:
            if not self._waiting.select(max(deadline - time.monotonic(), 0.0)):
                return None
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError(f"Chromium ended with {self._process.wait()}.")
            self._bytes += part
        line, self._bytes = self._bytes.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message


class Page:
    """One page, loaded in a context of its own, with all that it asked of network and console."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        scripts: bool = True,
    ) -> None:
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )["targetId"]
        self._session: str = browser.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=address)
        browser.wait("Page.loadEventFired", self._session)
        browser.listen(0.3)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def close(self) -> None:
        """End the page and its process."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def run(self, script: str) -> Any:
        """Value of an expression; works also where the page's own scripts are off."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def key(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def told(self, *methods: str) -> list[dict[str, Any]]:
        """Events of this page."""
        self._browser.listen(0.2)
        return [
            event["params"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event.get("method") in methods
        ]

    def complaints(self) -> list[dict[str, Any]]:
        """What console, log and issues panel say: exceptions, errors, refused or blocked things."""
        return self.told(
            "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded",
            "Audits.issueAdded", "Page.javascriptDialogOpening",
        )  # fmt: skip

    def requests(self) -> list[str]:
        """Addresses that were asked for, the page's own first."""
        return [one["request"]["url"] for one in self.told("Network.requestWillBeSent")]

    def low_contrast(self) -> list[str]:
        """Texts that are paler than WCAG 2's AA allows (4.5 : 1, large ones 3 : 1)."""
        found: list[str] = self.run(_CONTRAST)
        return found

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        options: dict[str, Any] = {"captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            # Chromium draws no picture that is higher.
            height = min(size["height"], _HIGHEST)
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", **options)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile in `folder`; it ends with the block."""
    assert PROGRAM is not None
    theirs_read, ours_write = os.pipe()
    ours_read, theirs_write = os.pipe()
    arguments = [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}",
        "about:blank",
    ]  # fmt: skip
    # Chromium reads descriptor 3 and writes descriptor 4.
    script = f'exec 3<&{theirs_read} 4>&{theirs_write}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *arguments],
        pass_fds=(theirs_read, theirs_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(theirs_read)
    os.close(theirs_write)
    running = Browser(process, ours_write, ours_read)
    try:
        yield running
        running.call("Browser.close")
    finally:
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_write)
        os.close(ours_read)

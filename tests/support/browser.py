"""A real browser, headless, driven over the W3C WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol gives an element."""

KEYS = {"ArrowLeft": "\ue012", "ArrowRight": "\ue014", "Home": "\ue011", "End": "\ue010", " ": " "}


class Browser:
    """A window of a browser.

    Args:
        port: where its driver listens.
        session: the driver's name for it.
    """

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        self._session = session

    def open(self, path: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self._ask("url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        """Return what a script returns."""
        return self._ask("execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds."""
        return str(self._ask(f"element/{self._find(selector)}/text"))

    def click(self, selector: str) -> None:
        """Click on it."""
        self._ask(f"element/{self._find(selector)}/click", {})

    def press(self, key: str) -> None:
        """Press a key, whatever has the focus."""
        code = KEYS[key]
        actions = [{"type": kind, "value": code} for kind in ("keyDown", "keyUp")]
        self._ask("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def resize(self, width: int, height: int) -> None:
        """Give the window a size."""
        self._ask("window/rect", {"width": width, "height": height})

    def screenshot(self) -> bytes:
        """Return a PNG of what is seen."""
        return base64.b64decode(self._ask("screenshot"))

    def requested(self) -> list[str]:
        """Return the addresses that were asked for since the last question."""
        entries = self._ask("se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Return what the console has had to say since the last question."""
        return [entry["message"] for entry in self._ask("se/log", {"type": "browser"})]

    def _find(self, selector: str) -> str:
        return str(self._ask("element", {"using": "css selector", "value": selector})[ELEMENT])

    def _ask(self, what: str, body: dict[str, Any] | None = None) -> Any:
        return ask(self._port, f"/session/{self._session}/{what}", body)


def ask(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask a driver something: by POST if there is a body, and else by GET."""
    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
    finally:
        connection.close()
    if isinstance(answer, dict) and "error" in answer:
        raise RuntimeError(f"{path}: {answer['error']}: {answer.get('message')}")
    return answer


@contextmanager
def browser(profile: Path, *, dark: bool = False) -> Iterator[Browser]:
    """Yield a browser with a new, empty profile."""
    assert DRIVER is not None
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    try:
        port = _port(driver)
        options = {
            "binary": BROWSER,
            "args": [*FLAGS, f"--user-data-dir={profile}", *(["--force-dark-mode"] if dark else [])],
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        session = ask(port, "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        try:
            yield Browser(port, session)
        finally:
            connection = HTTPConnection("127.0.0.1", port, timeout=300)
            connection.request("DELETE", f"/session/{session}")
            connection.getresponse().read()
            connection.close()
    finally:
        driver.terminate()
        driver.wait(timeout=300)
        if driver.stdout is not None:
            driver.stdout.close()


def _port(driver: subprocess.Popen[str]) -> int:
    """Return the port that a driver says it listens on."""
    assert driver.stdout is not None
    until = time.monotonic() + 30
    for line in driver.stdout:
        if "successfully on port" in line:
            return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        assert time.monotonic() < until
    raise RuntimeError("the driver of the browser did not start")

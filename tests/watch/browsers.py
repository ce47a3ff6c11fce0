"""Chromium without a window, and a web server to show it the page without a storescp."""

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.program import make_directory
from tests.servers import ROOT, wait_until

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PAGE = ROOT / "storescp" / "watch" / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

CHROMIUM, DRIVER = "chromium", "chromedriver"
PATIENCE = 20.0  # seconds after which something is not shown any more
STREAM = 60.0  # seconds that a stream of events lasts at most

OUTLINE = ("banner", "main", "contentinfo", "region", "heading", "image", "table", "meter", "status")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--window-size=1440,1000",
)


class Browser:
    """A Chromium with an empty profile, in UTC."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.driver = _start(make_directory(case))
        case.addCleanup(self.driver.quit)
        self.driver.set_page_load_timeout(PATIENCE)
        self.driver.set_script_timeout(PATIENCE)
        self.command("Emulation.setTimezoneOverride", timezoneId="UTC")

    def command(self, name: str, **parameters: Any) -> Any:
        """One of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of an expression of JavaScript, in which `arguments` are what they are called in a function."""
        return self.driver.execute_script(f"return ({script.strip()})", *arguments)

    def text(self, selector: str) -> str:
        """What somebody sees of an element, without empty lines; nothing where it is hidden."""
        seen = "(element => element.checkVisibility() ? element.innerText : '')(document.querySelector(arguments[0]))"
        return re.sub("\n+", "\n", self.run(seen, selector))

    def rows(self, body: str) -> list[list[str]]:
        """The texts of the cells of a table, by the id of its body."""
        cells: list[list[str]] = self.run(
            "[...document.getElementById(arguments[0]).rows].map(row => [...row.cells].map(cell => cell.innerText))",
            body,
        )
        return cells

    def wait(self, expression: str, what: str, seconds: float = PATIENCE) -> None:
        wait_until(lambda: bool(self.run(expression)), what, seconds)

    def prefer(self, scheme: str) -> None:
        """Be light or dark."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, button: str) -> None:
        """Click on it, by its id."""
        self.driver.find_element("id", button).click()

    def type(self, key: str) -> None:
        """Into what has the focus."""
        self.driver.switch_to.active_element.send_keys(key)

    def outline(self) -> list[tuple[str, str]]:
        """The parts of the page that assistive technology has lists of, as (role, name)."""
        nodes = {node["nodeId"]: node for node in self.command("Accessibility.getFullAXTree")["nodes"]}
        found = []
        waiting = [next(iter(nodes))]
        while waiting:
            node = nodes[waiting.pop()]
            waiting += [child for child in reversed(node["childIds"]) if child in nodes]
            role = node.get("role", {}).get("value", "")
            if role in OUTLINE:
                found.append((role, node.get("name", {}).get("value", "")))
        return found

    def be_wide(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def said(self) -> list[str]:
        """What it has put into its console since this was asked last, violations of the policy too."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]


def _start(profile: str) -> "Chrome":
    """SkipTest where something is not installed; nothing is fetched."""
    try:
        from selenium import webdriver  # noqa: PLC0415  # not everybody has it
    except ImportError:
        raise SkipTest("selenium is not installed") from None
    programs = {name: shutil.which(name) for name in (CHROMIUM, DRIVER)}
    for name, program in programs.items():
        if program is None:
            raise SkipTest(f"{name} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[CHROMIUM])
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    environment = {**os.environ, "SE_OFFLINE": "true"}
    service = webdriver.ChromeService(str(programs[DRIVER]), env=environment)
    return webdriver.Chrome(options=options, service=service)


class Site:
    """Serves the page on loopback under its policy, and what it is told as events."""

    def __init__(self, case: SynchronousTestCase, port: int = 0, status: int = 200) -> None:
        """`status` is what a request for events is answered with."""
        self.asked: list[str] = []
        self.status = status
        self._told = ""  # the last event
        self._count = 0
        self._changed = threading.Condition()
        self._is_open = True
        self._server = ThreadingHTTPServer(("127.0.0.1", port), lambda *each: _Request(self, *each))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        case.addCleanup(self.close)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def tell(self, data: dict[str, Any] | str) -> None:
        """Send an event to whoever listens, and as the first one to whoever comes."""
        with self._changed:
            self._told = data if isinstance(data, str) else json.dumps(data)
            self._count += 1
            self._changed.notify_all()

    def events(self) -> Iterator[str]:
        """All that is told, until the site is closed."""
        sent = 0
        while True:
            with self._changed:
                while self._is_open and self._count == sent:
                    if not self._changed.wait(STREAM):
                        return
                if not self._is_open:
                    return
                told, sent = self._told, self._count
            yield told

    def close(self) -> None:
        """Stop, as a server that has ended: nobody is served any more, and no stream goes on."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


class _Request(BaseHTTPRequestHandler):
    timeout = STREAM

    def __init__(self, site: Site, *arguments: Any) -> None:
        self._site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._site.asked.append(self.path)
        if self.path == "/events":
            self._answer(self._site.status, "text/event-stream")
            if self._site.status == 200:
                self._stream()
        elif self.path in FILES:
            name, content_type = FILES[self.path]
            self._answer(200, content_type, Path(PAGE, name).read_bytes())
        else:
            self._answer(404, "text/plain")

    def _stream(self) -> None:
        with suppress(ConnectionError):  # the browser has left
            for event in self._site.events():
                self.wfile.write(f"retry: 100\ndata: {event}\n\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

"""docs/service.rst: its files are read and its commands run as they are printed, but for ports, which are free ones."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.senders import send
from tests.servers import ROOT, SCRIPT, TWISTD, ServerTestCase, wait_until

PAGE = (ROOT / "docs" / "service.rst").read_text()

_BLOCK = re.compile(r"\.\. code-block:: \w+\n   :caption: (.+)\n\n((?:   .*\n|\n)+)")
_ANNOUNCED = re.compile(r"(?:storescp: http on port|HTTP starting on) (\d+)\n")  # twistd says the latter
_ROW = re.compile(r"``(storescp_\w+)``")
_METRIC = re.compile(r"(?m)^# TYPE (storescp_\w+) ")


def block(caption: str) -> str:
    (content,) = (content for each, content in _BLOCK.findall(PAGE) if each == caption)
    return re.sub(r"(?m)^   ", "", content).rstrip("\n") + "\n"


class ConfigurationTests(ServerTestCase):
    """The configuration file that the page shows."""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "images").mkdir()
        self.configuration = self.directory / "storescp.toml"
        self.configuration.write_text(
            block("storescp.toml")
            .replace("port = 11112", 'listen = ["tcp:0:interface=127.0.0.1"]')
            .replace("http = 8080", "http = 0")
        )

    def test_serve(self) -> None:
        """It lets the server of the page run, of which the page says what can be seen where."""
        for command in (SCRIPT, TWISTD):
            server = self.serve("--config", "storescp.toml", "--allow", "*", command=command)
            send(server.address)
            wait_until(lambda: _ANNOUNCED.search(server.stdout) is not None, "the port of the page")  # noqa: B023
            port = _ANNOUNCED.findall(server.stdout)[0]
            seen = {}
            for path in re.findall(r"(?m)^``(/\w*)`` +\S", PAGE):
                if path != "/events":
                    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                        seen[path] = answer.status, answer.read().decode()
            self.assertEqual({"/", "/metrics", "/healthz", "/readyz"}, set(seen))
            self.assertEqual([200] * 4, [status for status, _ in seen.values()])
            self.assertEqual(self._documented(), set(_METRIC.findall(seen["/metrics"][1])))
            self.assertEqual((0, ["CT.1.2.3.4.5.6"]), (server.stop().code, self._stored()))

    def _documented(self) -> set[str]:
        names = set(_ROW.findall(PAGE.partition("\nMetrics\n")[2].partition("Worth an alert")[0]))
        names.add("storescp_associations_released_total")  # which the page abbreviates
        return names

    def _stored(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "images").iterdir() if path.name != ".incoming")

    def test_check(self) -> None:
        """--check prints what the page shows, with the directory and the port of this test."""
        program = self.run_program(*block("Check").splitlines()[1].split()[1:])
        ended = program.ended()
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        shown = block("What it begins with").replace("/srv/images", str(self.directory / "images"))
        shown = shown.replace("tcp:11112", "tcp:0:interface=127.0.0.1").replace("8080", "0")
        self.assertEqual(shown, ended.stdout[: len(shown)])

    def test_mistake(self) -> None:
        """A mistake is told as the page says."""
        (line,) = re.findall(r"(?m)^    (storescp: error: storescp\.toml.*)$", PAGE)
        (number,) = re.findall(r"line (\d+)", line)
        lines = self.configuration.read_text().splitlines()
        lines[int(number) - 1 : int(number) - 1] = ["dimse-timeuot = 60"]
        self.configuration.write_text("\n".join(lines))
        ended = self.run_program("--config", "storescp.toml").ended()
        self.assertEqual((2, f"{line}\n"), (ended.code, ended.stderr))


class LogTests(ServerTestCase):
    """The lines of JSON that the page shows."""

    def test_json(self) -> None:
        """They have the fields that real ones have, in their order."""
        server = self.serve("--listen=tcp:0:interface=127.0.0.1", "-v", "--log-format", "json")
        send(server.address)
        wait_until(lambda: "Summary" in server.stderr, "the end of the association")
        records = [json.loads(line) for line in server.stop().stderr.splitlines()]
        (accepted,) = (each for each in records if each["message"] == "Association Accepted")
        (last,) = (each for each in records if "summary" in each)
        for caption, written in (("A line of the log", accepted), ("The last line of an association", last)):
            shown: dict[str, Any] = json.loads(block(caption))
            self.assertEqual(list(shown), list(written))
            self.assertEqual(list(shown.get("summary", ())), list(written.get("summary", ())))
            self.assertEqual(_without_numbers(shown["message"]), _without_numbers(written["message"]))


def _without_numbers(message: str) -> str:
    for title, other in (("CT1", "TITLE"), ("ARCHIVE", "TITLE"), ("TESTSCU", "TITLE"), ("STORESCP", "TITLE")):
        message = message.replace(title, other)
    return re.sub(r"[\d.]+", "0", message)


class UnitsTests(SynchronousTestCase):
    """What the page installs."""

    def test_files(self) -> None:
        """Every file of the checkout that a command of the page names is there."""
        commands = block("Install the units") + block("Install the manual page and the completion")
        named = set(re.findall(r"contrib/\S+", commands))
        self.assertEqual(5, len(named))
        self.assertEqual([], [each for each in named if not Path(ROOT, each).is_file()])

    def test_directories(self) -> None:
        """Where the page says that images and the audit log go is where units and configuration have them go."""
        unit = (ROOT / "contrib/systemd/storescp.service").read_text()
        configuration = (ROOT / "contrib/systemd/storescp.toml").read_text()
        self.assertIn("\nStateDirectory=storescp\n", unit)
        self.assertIn("\nLogsDirectory=storescp\n", unit)
        self.assertIn('\noutput-directory = "/var/lib/storescp"\n', configuration)
        self.assertIn('\naudit-log = "/var/log/storescp/audit.jsonl"\n', configuration)

"""docs/service.rst: what can be seen of a server and in its log, and where units have things go, is what it says."""

import json
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from twisted.trial.unittest import SkipTest

from tests.docs.pages import Page
from tests.packaging.test_systemd import UNITS, settings, systemd
from tests.senders import send
from tests.servers import INCOMING, SCRIPT, TWISTD, ServerTestCase, free_port, wait_until

PAGE = Page("docs/service.rst")

_ANNOUNCED = re.compile(r"(?:storescp: http on port|HTTP starting on) (\d+)\n")  # twistd says the latter
_METRIC = re.compile(r"(?m)^# TYPE (storescp_\w+) ")


class WebTests(ServerTestCase):
    """The server of the page's configuration, at ports of this test."""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "images").mkdir()
        configuration = PAGE.block("File storescp.toml")
        for said, meant in (("port = 11112", 'listen = ["tcp:0:interface=127.0.0.1"]'), ("http = 8080", "http = 0")):
            self.assertEqual(1, configuration.count(said))
            configuration = configuration.replace(said, meant)
        (self.directory / "storescp.toml").write_text(configuration)

    def test_seen(self) -> None:
        """Under either program there is what the page lists; and metrics are those of its table."""
        paths = re.findall(r"(?m)^``(/\w*)`` +\S", PAGE.section("Look at it"))
        self.assertEqual(["/", "/events", "/metrics", "/healthz", "/readyz"], paths)
        paths.remove("/events")  # has no end
        for command in (SCRIPT, TWISTD):
            server = self.serve("--config", "storescp.toml", "--allow", "*", command=command)
            send(server.address)
            wait_until(lambda: _ANNOUNCED.search(server.stdout) is not None, "the port of the page")  # noqa: B023
            (port,) = _ANNOUNCED.findall(server.stdout)
            seen = {}
            for path in paths:
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    seen[path] = answer.status, answer.read().decode()
            self.assertEqual([200] * 4, [status for status, _ in seen.values()])
            self.assertEqual(self._documented(), set(_METRIC.findall(seen["/metrics"][1])))
            self.assertEqual((0, [*INCOMING, "CT.1.2.3.4.5.6"]), (server.stop().code, self._stored()))

    def _documented(self) -> set[str]:
        table = PAGE.section("Metrics").partition("Worth an alert")[0]
        # Of one it has the end alone.
        return {"storescp_associations_released_total", *re.findall(r"``(storescp_\w+)``", table)}

    def _stored(self) -> list[str]:
        images = self.directory / "images"
        return sorted(str(path.relative_to(images)) for path in images.rglob("*"))


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
            shown: dict[str, Any] = json.loads(PAGE.block(caption))
            self.assertEqual(list(shown), list(written))
            self.assertEqual(list(shown.get("summary", ())), list(written.get("summary", ())))
            self.assertEqual(_without_numbers(shown["message"]), _without_numbers(written["message"]))


def _without_numbers(message: str) -> str:
    for title, other in (("CT1", "TITLE"), ("ARCHIVE", "TITLE"), ("TESTSCU", "TITLE"), ("STORESCP", "TITLE")):
        message = message.replace(title, other)
    return re.sub(r"[\d.]+", "0", message)


class PrometheusTests(ServerTestCase):
    def test_configuration(self) -> None:
        """Prometheus takes the configuration that is shown."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("needs promtool")
        (self.directory / "prometheus.yml").write_text(PAGE.block("File prometheus.yml"))
        ended = self.run_program("check", "config", "prometheus.yml", command=(promtool,)).ended()
        self.assertEqual((0, ""), (ended.code, ended.stderr), ended.stdout)


class UnitsTests(ServerTestCase):
    """What is said of the units, beside how they are installed."""

    def test_directories(self) -> None:
        """Where the page says that images and the audit log go is where units and configuration have them go."""
        service = settings(UNITS / "storescp.service", "Service")
        self.assertEqual(("storescp", "storescp"), (service["StateDirectory"], service["LogsDirectory"]))
        configuration = (UNITS / "storescp.toml").read_text()
        self.assertIn('\noutput-directory = "/var/lib/storescp"\n', configuration)
        self.assertIn('\naudit-log = "/var/log/storescp/audit.jsonl"\n', configuration)

    def test_other_port(self) -> None:
        """The change of the port is one that systemd takes, and that leaves no other port."""
        shutil.copy(UNITS / "storescp.socket", self.directory)
        drop_in = self.directory / "storescp.socket.d" / "override.conf"
        drop_in.parent.mkdir()
        (change,) = (block.content for block in PAGE.blocks("With systemd") if block.language == "ini")
        drop_in.write_text(change)
        service = (UNITS / "storescp.service").read_text()
        (self.directory / "storescp.service").write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", service))
        verify = ("verify", "--man=no", "./storescp.socket")
        ended = self.run_program(*verify, command=(systemd("systemd-analyze"),)).ended()
        self.assertEqual((0, "", ""), (ended.code, ended.stdout, ended.stderr))

    def test_by_hand(self) -> None:
        """A socket that is handed over by hand, by the command of the page, is one that the server takes."""
        command = re.findall(r"``(systemd-socket-activate .*?)``", PAGE.section("With systemd"))[0]
        port = str(free_port())
        activate, *arguments = shlex.split(command.replace("11112", port))
        at = arguments.index("storescp")
        arguments[at : at + 1] = ["--setenv=PYTHONPATH", *SCRIPT]
        if not Path("/proc/net/if_inet6").exists():
            raise SkipTest("needs IPv6")
        server = self.run_program(*arguments, command=(systemd(activate),))
        wait_until(lambda: "Listening on" in server.stderr, "the port")
        send(("127.0.0.1", int(port)))
        server.signal(signal.SIGTERM)
        self.assertEqual((0, [*INCOMING, "CT.1.2.3.4.5.6"]), (server.ended().code, self.left))

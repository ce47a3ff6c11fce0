"""docs/security.rst: what it shows is what the programs print, read and write."""

import json
import re
import signal
import sys

from twisted.cred.portal import Portal

from storescp import Access, Config, Realm
from storescp.server.tls import PROFILES
from tests.docs.pages import Page
from tests.docs.reading import ReadingTestCase
from tests.servers import LOOPBACK, ServerTestCase, wait_until

PAGE = Page("docs/security.rst")


class AuditTests(ReadingTestCase):
    """The audit log of who has done what the page says."""

    def test_fields(self) -> None:
        """It has the fields that the page shows, in their order."""
        self.needs("openssl", "storescu")
        self.follow(PAGE.blocks("TLS with a certificate for each device"))
        examples = [json.loads(block.content) for block in PAGE.blocks("The audit log") if block.language == "json"]
        shown = {example["event"]: list(example) for example in examples}
        self.assertEqual({"association", "rejection", "refusal"}, set(shown))
        written = [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]
        self.assertEqual(
            ["association", "association", "rejection", "refusal", "refusal"], [event["event"] for event in written]
        )
        self.assertEqual([shown[event["event"]] for event in written], [list(event) for event in written])


class PageTests(ServerTestCase):
    """What is shown, and not run."""

    def test_list(self) -> None:
        """The example of a list is one."""
        (block,) = PAGE.blocks("The list")
        path = self.directory / "allow"
        path.write_text(block.content)
        access = Access(Config(allow_file=str(path)), portal=Portal(Realm()))
        self.assertEqual(["CT1", "CT1", "CT ROOM 2", "US#4", "*"], [entry.ae_title for entry in access.list.entries])

    def test_reload(self) -> None:
        """A list that cannot be used is told in the line that is shown; one that can be, with -v, in the other."""
        (block,) = PAGE.blocks("Changes while it runs")
        bad = block.content.rstrip("\n")
        (good,) = re.findall("``(I: All files .*?)``", PAGE.section("Changes while it runs"))
        path = self.directory / "allow"
        path.write_text("CT1\n")
        server = self.serve(LOOPBACK, "-v", "--allow-file", "allow")
        for content, line in (("\nCT1\nMR1 netwrok=10.1.2.0/24\n", bad), ("CT1\n", good)):
            path.write_text(content)
            server.signal(signal.SIGHUP)
            wait_until(lambda line=line: f"{line}\n" in server.stderr, line)  # type: ignore[misc]
        self.assertEqual((0, [bad, good]), (server.stop().code, server.stderr.splitlines()))

    def test_profiles(self) -> None:
        """The table has the suites of each profile, in their order."""
        rows = PAGE.section("TLS").split("   * - ``bcp195")[1:]
        shown = [re.findall(r"\| (\S+)$", row, re.MULTILINE) for row in rows]
        self.assertEqual([[*each.tls_1_2, *each.tls_1_3] for each in PROFILES.values()], shown)

    def test_own_observer(self) -> None:
        """The program gives an event to syslog, here one that prints."""
        (code,) = (block.content for block in PAGE.blocks("The audit log") if block.language == "python")
        (self.directory / "allow").write_text("CT1\n")
        code += "syslog.syslog = lambda priority, text: print(text)\n"
        code += "observer.connection_refused('10.1.2.17:49152', 'it is none')\n"
        ended = self.run_program("-c", code, command=(sys.executable,)).ended()
        event = json.loads(ended.stdout)
        self.assertEqual((0, "refusal", "it is none"), (ended.code, event["event"], event["cause"]))

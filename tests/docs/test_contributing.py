"""CONTRIBUTING.rst: its commands are those of ``.ci/run``, and its examples stand in the code."""

import re
import textwrap

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.pages import Page
from tests.servers import ROOT

PAGE = Page("CONTRIBUTING.rst")


class ContributingTests(SynchronousTestCase):
    def test_commands(self) -> None:
        """Each block of commands is run by ``.ci/run``, which takes them from the page, and so is the README's."""
        run = (ROOT / ".ci/run").read_text()
        taken = re.findall(r'(?m)^do_block (\S+) "(.+)"$', run)
        expected = [(PAGE.path, block.caption) for block in PAGE.blocks() if block.language == "sh"]
        self.assertEqual({("README.rst", "The tests"), *expected}, set(taken))

    def test_examples(self) -> None:
        """Each example is in the file that its caption names, letter for letter."""
        examples = [block for block in PAGE.blocks() if block.language == "python"]
        self.assertEqual(["storescp/ul/pdu.py", "tests/ul/test_machine.py"], [each.caption for each in examples])
        for example in examples:
            source = (ROOT / example.caption).read_text()
            methods = textwrap.indent(example.content, "    ")
            self.assertTrue(f"\n{example.content}" in source or f"\n{methods}" in source, example.caption)

    def test_change_note(self) -> None:
        """The example of a change note is one."""
        (note,) = (block.content for block in PAGE.blocks("A change note") if block.language == "text")
        self.assertIn(note, (ROOT / "docs/changes.rst").read_text())

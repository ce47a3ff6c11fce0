"""What the programs print instead of serving, where that is not a matter of what it is; --check has the rest."""

import sys
from unittest import mock

import attrs
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import CannotStart
from storescp.program.command_line import make_parser, parse
from storescp.program.instead import do_instead
from storescp.program.printing import print_lines


class PrintingTests(SynchronousTestCase):
    def test_closed(self) -> None:
        """A standard output that was closed before the program began is told."""
        with mock.patch.object(sys, "stdout", None):  # so Python has it then
            error = self.assertRaises(CannotStart, print_lines, ["a line"])
        self.assertEqual("standard output: it is closed", str(error))


class InsteadTests(SynchronousTestCase):
    def test_unknown(self) -> None:
        """What is asked for and has nobody to do it is a mistake of ours, and not taken for anything else."""
        asked = attrs.evolve(parse(make_parser("storescp"), ("--check", "0")), instead="serve")
        error = self.assertRaises(ValueError, do_instead, asked)
        self.assertEqual("serve", str(error))

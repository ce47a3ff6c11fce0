"""What the tests of the programs share."""

import os
from typing import Any
from unittest import mock

import twisted.internet
from twisted.trial.unittest import SynchronousTestCase


def make_directory(case: SynchronousTestCase) -> str:
    """A new, empty directory of this test, by its absolute path."""
    path = os.path.abspath(case.mktemp())
    os.mkdir(path)
    return path


def use_reactor(case: SynchronousTestCase, reactor: Any) -> None:
    """Let `reactor` be the one that the program imports during this test."""
    patcher = mock.patch.object(twisted.internet, "reactor", reactor, create=True)
    patcher.start()
    case.addCleanup(patcher.stop)

"""What the programs allow their process."""

import resource
from typing import Any
from unittest import mock

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.program.process import allow_descriptors

INFINITE = resource.RLIM_INFINITY


class DescriptorsTests(SynchronousTestCase):
    """2 x 256 associations, 64 connections without one, 64 for itself: 640 by default."""

    def allow(self, soft: int, hard: int, error: Exception | None = None, **options: Any) -> tuple[Any, list[str]]:
        """The limits that are set, if any, and what is logged, in a process that has these."""
        with (
            mock.patch.object(resource, "getrlimit", return_value=(soft, hard)),
            mock.patch.object(resource, "setrlimit", side_effect=error) as setrlimit,
            capturedLogs() as logs,
        ):
            allow_descriptors(Config(**options))
        calls = [call.args for call in setrlimit.call_args_list]
        return calls, [formatEvent(event) for event in logs]

    def test_enough(self) -> None:
        """Where there are enough nothing is done."""
        for soft in (640, 1024, INFINITE):
            self.assertEqual(([], []), self.allow(soft, INFINITE))

    def test_raised(self) -> None:
        """Where there may be more the soft limit is raised, to what the options need."""
        for hard in (640, 4096, INFINITE):
            self.assertEqual(([(resource.RLIMIT_NOFILE, (640, hard))], []), self.allow(256, hard))
        expected = [(resource.RLIMIT_NOFILE, (2 * 500 + 100 + 64, INFINITE))]
        self.assertEqual((expected, []), self.allow(1024, INFINITE, max_associations=500, max_unassociated=100))

    def test_not_enough(self) -> None:
        """Where there may not, it is raised as far as it goes, and the user is told what to do."""
        told = (
            " file descriptors are allowed (ulimit -n), 640 may be needed: allow more, or fewer associations "
            "(--max-associations)"
        )
        raised = [(resource.RLIMIT_NOFILE, (639, 639))]
        self.assertEqual((raised, ["639" + told]), self.allow(256, 639))
        self.assertEqual(([], ["639" + told]), self.allow(639, 639))
        for error in (ValueError("no"), OSError("no")):  # a system with a bound that it does not tell
            _, lines = self.allow(256, INFINITE, error)
            self.assertEqual(["256" + told], lines)

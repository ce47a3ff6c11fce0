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
    """2 x 256 associations, 64 connections without one, 64 files received ahead, 32 for itself: 672 by default."""

    def allow(self, soft: int, hard: int, error: Exception | None = None, **options: Any) -> tuple[Any, list[str]]:
        """The limits that are set, if any, and what is logged, in a process that has these; then what is left of it."""
        with (
            mock.patch.object(resource, "getrlimit", return_value=(soft, hard)),
            mock.patch.object(resource, "setrlimit", side_effect=error) as setrlimit,
            capturedLogs() as logs,
        ):
            self.config = allow_descriptors(Config(**options))
        calls = [call.args for call in setrlimit.call_args_list]
        return calls, [formatEvent(event) for event in logs]

    def test_enough(self) -> None:
        """Where there are enough nothing is done."""
        for soft in (672, 1024, INFINITE):
            self.assertEqual(([], []), self.allow(soft, INFINITE))
            self.assertEqual(Config(), self.config)

    def test_raised(self) -> None:
        """Where there may be more the soft limit is raised, to what the options need."""
        for hard in (672, 4096, INFINITE):
            self.assertEqual(([(resource.RLIMIT_NOFILE, (672, hard))], []), self.allow(256, hard))
            self.assertEqual(Config(), self.config)
        expected = [(resource.RLIMIT_NOFILE, (2 * 500 + 100 + 64 + 32, INFINITE))]
        self.assertEqual((expected, []), self.allow(1024, INFINITE, max_associations=500, max_unassociated=100))

    def test_not_enough(self) -> None:
        """Where there may not, it is raised as far as it goes, there is less of everything, and the user is told."""
        line = (
            "{} file descriptors are allowed (ulimit -n), 672 may be needed: there will be no more than {} "
            "associations (--max-associations) and {} other connections (--max-unassociated)"
        )
        for allowed, associations, unassociated in ((607, 255, 64), (232, 75, 50), (40, 3, 2), (32, 1, 1), (3, 1, 1)):
            raised = [(resource.RLIMIT_NOFILE, (allowed, allowed))]
            told = [line.format(allowed, associations, unassociated)]
            self.assertEqual((raised, told), self.allow(2, allowed))
            self.assertEqual(([], told), self.allow(allowed, allowed))
            less = Config(max_associations=associations, max_unassociated=unassociated)
            self.assertEqual(less, self.config)

    def test_refused(self) -> None:
        """So it is on a system that has a bound which it does not tell."""
        for error in (ValueError("no"), OSError("no")):
            self.allow(232, INFINITE, error)
            self.assertEqual(Config(max_associations=75, max_unassociated=50), self.config)

    def test_asked_for_less(self) -> None:
        """Nobody gets more than he has asked for."""
        self.allow(40, 40, max_associations=2, max_unassociated=30)
        self.assertEqual(Config(max_associations=2, max_unassociated=2), self.config)

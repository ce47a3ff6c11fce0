"""What the programs allow their process."""

import resource
import signal
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.program.process import allow_descriptors, reload_on_hangup

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

    def test_looked_at(self) -> None:
        """Those who look at a server have theirs, 64 and the port, so that no instance lacks one for them."""
        self.assertEqual(([(resource.RLIMIT_NOFILE, (737, INFINITE))], []), self.allow(256, INFINITE, http="8080"))
        _, (line,) = self.allow(256, 256, http="8080")
        self.assertIn("256 file descriptors are allowed (ulimit -n), 737 may be needed", line)
        # 256 - 32 - 65 are left: a quarter of them for connections without an association, half of the rest.
        self.assertEqual((39, 60), (self.config.max_unassociated, self.config.max_associations))

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


class Reactor:
    """Keeps what is to be called when it runs, and what threads and signals ask it to call."""

    def __init__(self) -> None:
        self.when_running: list[Callable[[], object]] = []
        self.called: list[Callable[[], object]] = []

    def callWhenRunning(self, function: Callable[..., object], *arguments: Any) -> None:
        self.when_running.append(lambda: function(*arguments))

    def callFromThread(self, function: Callable[[], object]) -> None:
        self.called.append(function)


class HangupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.before = signal.signal(signal.SIGHUP, lambda _number, _frame: self.fail("nobody handles it"))
        self.addCleanup(signal.signal, signal.SIGHUP, self.before)
        self.reactor = Reactor()
        self.reloads = 0
        reload_on_hangup(self.reactor, self.reload)

    def reload(self) -> None:
        self.reloads += 1

    def test_each(self) -> None:
        """Each SIGHUP lets the reactor reload, in its own time: not in the middle of what it is doing."""
        (handle,) = self.reactor.when_running
        handle()
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        self.assertEqual((3, 0), (len(self.reactor.called), self.reloads))
        for each in self.reactor.called:
            each()
        self.assertEqual(3, self.reloads)

    def test_before_it_runs(self) -> None:
        """Until the reactor runs the signal means what it meant before."""
        handler = signal.getsignal(signal.SIGHUP)
        (handle,) = self.reactor.when_running
        self.assertIs(handler, signal.getsignal(signal.SIGHUP))
        handle()
        self.assertIsNot(handler, signal.getsignal(signal.SIGHUP))

    def test_other_signals(self) -> None:
        """No other signal is touched."""
        others = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        handlers = [signal.getsignal(number) for number in others]
        (handle,) = self.reactor.when_running
        handle()
        self.assertEqual(handlers, [signal.getsignal(number) for number in others])

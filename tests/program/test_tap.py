"""storescp as a plugin of twistd."""

import atexit
import os
from collections.abc import Callable

from twisted.application.service import IService, IServiceMaker
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import IPlugin, getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from storescp.dimse.commands import Command
from storescp.program import tap
from storescp.testing import SCU
from storescp.uids import VERSION
from tests.program import make_directory, use_reactor
from tests.program.test_service import WITHOUT_ITS_DATA_SET, Reactor


def options(*line: str) -> tap.Options:
    parsed = tap.Options()
    parsed.parseOptions(line)
    return parsed


class PluginTests(SynchronousTestCase):
    def test_found(self) -> None:
        """twistd finds the plugin by its name, with options and service of this program."""
        (plugin,) = (each for each in getPlugins(IServiceMaker) if each.tapname == "storescp")
        self.assertTrue(verifyObject(IServiceMaker, plugin))
        self.assertTrue(verifyObject(IPlugin, plugin))
        self.assertEqual((tap.Options, tap.makeService), (plugin.options, plugin.makeService))
        self.assertEqual("A DICOM Storage SCP", plugin.description)

    def test_options(self) -> None:
        """Its options are such as twistd can use: a mistake raises twistd's error, the help is its text."""
        self.assertIsInstance(tap.Options(), usage.Options)
        self.assertRaises(usage.UsageError, options, "--bogus")
        self.assertEqual("usage: twistd [options] storescp [options] port", str(tap.Options()).splitlines()[0])


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        use_reactor(self, self.reactor)

    def test_runs(self) -> None:
        """The service listens when it is started and not before, and stops."""
        service = tap.makeService(options("--port", "11112", "--ignore"))
        self.assertTrue(verifyObject(IService, service))
        self.assertEqual([], self.reactor.open_ports)
        service.privilegedStartService()
        service.startService()
        self.assertEqual([11112], self.reactor.open_ports)
        self.successResultOf(service.stopService())
        self.assertEqual([], self.reactor.open_ports)

    def codes(self, *messages: Command) -> list[int]:
        """The codes that the process is ended with at its exit, where a peer has sent these and no more."""
        at_exit: list[Callable[[], None]] = []
        self.patch(atexit, "register", at_exit.append)
        codes: list[int] = []
        self.patch(os, "_exit", codes.append)
        service = tap.makeService(options("--port", "11112", "--ignore", "--grace", "0"))
        service.startService()
        scu = SCU(self.reactor.listening[0].factory, self.reactor)
        for message in messages:
            scu.send(3, message)
        stopped = service.stopService()
        self.reactor.advance(0)
        scu.pump()
        self.successResultOf(stopped)
        for function in at_exit:
            function()
        return codes

    def test_exit_code(self) -> None:
        """twistd, which knows no code of its own, ends with 1 where an instance was cut off."""
        self.assertEqual([1], self.codes(WITHOUT_ITS_DATA_SET))
        self.assertEqual([], self.codes())

    def test_log(self) -> None:
        """What -d begins with goes to twistd's log; without -d there is nothing."""
        for line, expected in (
            (("--port", "0", "--ignore", "-d"), [("debug", f"$storescp.py v{VERSION}\n")]),
            (("--port", "0", "--ignore"), []),
        ):
            with capturedLogs() as events:
                tap.makeService(options(*line))
            self.assertEqual(expected, [(event["log_level"].name, formatEvent(event)) for event in events])

    def assert_exit(self, message: str, *line: str) -> None:
        with self.assertRaises(SystemExit) as raised:
            tap.makeService(options(*line)).privilegedStartService()
        self.assertEqual(f"storescp: error: {message}", raised.exception.code)
        self.assertEqual([], self.reactor.open_ports)

    def test_failures(self) -> None:
        """What stands in the way of a start ends twistd with one line, the same as the script's."""
        missing = os.path.join(make_directory(self), "missing")
        self.assert_exit(f"output directory {missing}: does not exist", "--port", "0", "-od", missing)
        self.assert_exit(
            "argument --listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'",
            *("--listen", "carrier-pigeon:1", "--ignore"),
        )
        self.assert_exit(
            "tcp:104: Couldn't listen on any:104: [Errno 98] Address already in use.",
            *("--listen", "tcp:11112", "--listen", "tcp:104", "--ignore"),
        )

"""storescp as a plugin of twistd."""

import atexit
import contextlib
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from twisted.application.service import Application, IService, IServiceMaker
from twisted.logger import ILogObserver, Logger, capturedLogs, formatEvent
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
from tests.senders import send
from tests.servers import LOOPBACK, Ended, Program, ServerTestCase, wait_until, without_addresses


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


class ObserverTests(SynchronousTestCase):
    """Which log observer twistd is given."""

    def setUp(self) -> None:
        use_reactor(self, Reactor())

    def options(self, *line: str, **parent: Any) -> tap.Options:
        """As twistd has them, whose own are these."""
        parsed = tap.Options()
        parsed.parent = parent
        parsed.parseOptions(["--port", "0", "--ignore", *line])
        return parsed

    def component(self, options: tap.Options) -> Any:
        """What twistd finds at its application."""
        application = Application("storescp")
        tap.makeService(options).setServiceParent(application)
        return application.getComponent(ILogObserver, None)

    def test_own(self) -> None:
        """Where nothing is asked for it is given none, and takes its own."""
        for line in ((), ("--log-format", "text"), ("-v",), ("-d",)):
            self.assertIsNone(self.component(self.options(*line, nodaemon=True, logfile=None)))

    def test_asked_for(self) -> None:
        """Where other lines are asked for, it is one that prints them on standard output."""
        for line, expected in (
            (("--log-format", "json"), r'{"time":"[^"]+","level":"warn","logger":"storescp","association":"a-1",.*}\n'),
            (("--log-associations",), r"20\S+ \[storescp#warn\] \[a-1\] no\n"),
            (("--log-associations", "--log-format=json"), r'{"time":.*"association":"a-1","message":"no"}\n'),
        ):
            for logfile in (None, "", "-"):
                self.patch(sys, "stdout", stream := io.StringIO())
                observer = self.component(self.options(*line, nodaemon=True, logfile=logfile))
                Logger(namespace="storescp", observer=observer).warn("no", association="a-1")
                self.assertRegex(stream.getvalue(), f"^{expected}$")

    def test_file(self) -> None:
        """Or into the file that twistd would have taken."""
        directory = make_directory(self)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)
        for parent, name in (
            ({"nodaemon": True, "logfile": "a.log"}, "a.log"),
            ({"nodaemon": False, "logfile": f"{directory}/b.log"}, "b.log"),
            ({"nodaemon": False, "logfile": None}, "twistd.log"),
            ({"nodaemon": False, "logfile": ""}, "twistd.log"),
        ):
            self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
            observer = self.component(self.options("--log-format", "json", **parent))
            before = os.path.getsize(name)
            Logger(namespace="storescp", observer=observer).warn("no")
            with open(name, encoding="ascii") as file:
                file.seek(before)
                self.assertEqual(["no"], [json.loads(line)["message"] for line in file])

    def test_alone(self) -> None:
        """Without twistd around it there is nothing to be given to."""
        self.assertIsNone(self.component(options("--port", "0", "--ignore", "--log-format", "json")))

    def test_syslog(self) -> None:
        """With twistd's --syslog there is none, and what cannot be had is refused; without it nothing is."""
        message = "--log-format json and --log-associations do not go with twistd's --syslog"
        for line in (("--log-format", "json"), ("--log-associations",), ("--log-format=json", "--log-associations")):
            error = self.assertRaises(usage.UsageError, self.options, *line, syslog=True, nodaemon=True)
            self.assertEqual(message, str(error))
            self.options(*line, syslog=False, nodaemon=True)
        self.assertIsNone(self.component(self.options("--log-format=text", syslog=True, nodaemon=True)))


_PORT = re.compile(r"StorageSCPFactory starting on (\d+)")
RUN = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
OWN_LOGGER = """
from twisted.logger import eventAsText, FileLogObserver
import sys
def observer():
    return FileLogObserver(sys.stdout, lambda event: "OWN " + eventAsText(event, includeTimestamp=False) + "\\n")
"""


class TwistdTests(ServerTestCase):
    """What twistd prints, where, in a process of its own."""

    def twistd(self, *own: str, options: tuple[str, ...]) -> Program:
        program = Program("storescp", LOOPBACK, "-v", *options, directory=str(self.directory), command=(*RUN, *own))
        self.addCleanup(program.kill)
        return program

    def visit(self, log: Callable[[], str]) -> None:
        """When it listens, a peer stores an instance, and its last line is waited for."""
        wait_until(lambda: _PORT.search(log()) is not None, "the announcement of a port")
        found = _PORT.search(log())
        assert found is not None
        send(("127.0.0.1", int(found[1])))
        wait_until(lambda: "Association Summary" in log(), "the last line of an association")

    def stdout(self, *own: str, options: tuple[str, ...], log: Callable[[], str] | None = None) -> str:
        """What is on standard output after such a visit, and the end by a signal; nothing is on the other."""
        program = self.twistd("-n", "--pidfile=", *own, options=options)
        self.visit(log or (lambda: program.stdout))
        program.signal(signal.SIGTERM)
        ended = program.ended()
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        return ended.stdout

    def content(self, name: str = "log") -> str:
        path = self.directory / name
        return path.read_text() if path.exists() else ""

    def check_json(self, text: str) -> None:
        """All of it is JSON, from the first line of twistd to its last; our lines are as ever."""
        self.assertTrue(text.isascii())
        records = list(map(json.loads, text.splitlines()))
        self.assertIn("starting up", records[0]["message"])
        self.assertEqual("Server Shut Down.", records[-1]["message"])
        ours = [each for each in records if each["logger"].startswith("storescp")]
        (identifier,) = {each["association"] for each in ours}
        self.assertRegex(identifier, r"^[0-9a-f]{6}-\d+$")
        self.assertEqual([None], list({each["association"] for each in records if each not in ours}))
        *lines, last = ours
        self.assertEqual(
            [
                "Association Received",
                "Association Accepted",
                "Received Store Request",
                "Storing DICOM file: CT.1.2.3.4.5.6",
                "Association Released",
            ],
            [each["message"] for each in lines],
        )
        self.assertEqual(
            ("TESTSCU", 1, 54, "released"),
            itemgetter("calling_ae_title", "instances", "bytes", "ended")(last["summary"]),
        )

    def test_json(self) -> None:
        """With -n JSON is on standard output, and nothing else."""
        self.check_json(self.stdout(options=("--log-format", "json")))

    def test_json_in_a_file(self) -> None:
        """It is in the file that --logfile names, and nowhere else."""
        stdout = self.stdout("--logfile=log", options=("--log-format", "json"), log=self.content)
        self.assertEqual("", stdout)
        self.check_json(self.content())

    def test_associations(self) -> None:
        """--log-associations puts the id into lines that are twistd's, before the text of those that have one."""
        lines = self.stdout(options=("--log-associations",)).splitlines()
        begin = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[\S+\] "
        self.assertEqual([], [line for line in lines if not re.match(begin, line)])
        texts = [re.sub("^" + begin, "", without_addresses(line)) for line in lines if "[storescp#" in line]
        ids = {text.partition(" ")[0] for text in texts}
        self.assertEqual(1, len(ids))
        self.assertRegex(ids.pop(), r"^\[[0-9a-f]{6}-\d+\]$")
        *texts, last = [text.partition(" ")[2] for text in texts]
        self.assertEqual(
            [
                "Association Received",
                "Association Accepted",
                "Received Store Request",
                "Storing DICOM file: CT.1.2.3.4.5.6",
                "Association Released",
            ],
            texts,
        )
        self.assertRegex(
            last,
            r"^Association Summary: TESTSCU at PEER to STORESCP, 1 stored, 54 bytes, \d\.\d{3} s, 0 refused, "
            "0 cut off, released$",
        )

    def test_syslog(self) -> None:
        """With twistd's --syslog it does not start, and says so in a line; the exit code is twistd's own."""
        program = self.twistd("-n", "--pidfile=", "--syslog", options=("--log-format=json",))
        ended = program.ended()
        self.assertEqual(1, ended.code)
        self.assertIn("do not go with twistd's --syslog\n", ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)

    def test_logger(self) -> None:
        """An observer that the user names to twistd is the one, whatever is asked of ours."""
        (self.directory / "own_logger.py").write_text(OWN_LOGGER)
        for line in (("--log-format=json",), ("--log-associations",)):
            lines = self.stdout("--logger=own_logger.observer", options=line).splitlines()
            self.assertEqual([], [line for line in lines if not line.startswith("OWN ")])
            self.assertIn("OWN [storescp#info] Association Received", lines)

    def daemon(self, *own: str, options: tuple[str, ...]) -> Callable[[], str]:
        """A daemon, which is ended at the end of the test; its log."""
        self.addCleanup(self.kill)
        self.assertEqual(Ended(0, "", ""), self.twistd(*own, options=options).ended())
        wait_until(lambda: self.content("twistd.pid") != "", "the process id")
        self.pid = int(self.content("twistd.pid"))
        return lambda: self.content("twistd.log")

    def kill(self) -> None:
        """Make sure that the daemon is gone: it removes the file with its process id when it ends by itself."""
        pid = self.content("twistd.pid")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: self.content("twistd.pid") == "", "the end of the daemon")

    def test_daemon(self) -> None:
        """A daemon writes its lines into twistd.log in the directory where it was started."""
        log = self.daemon(options=("--log-format", "json"))
        self.visit(log)
        self.end()
        self.check_json(log())

    def test_rotation(self) -> None:
        """Its log is rotated by SIGUSR1, as one that twistd writes by itself."""
        log = self.daemon(options=("--log-format", "json"))
        self.visit(log)
        os.kill(self.pid, signal.SIGUSR1)
        wait_until(lambda: self.content("twistd.log.1") != "", "another file", 5)
        self.end()
        self.check_json(self.content("twistd.log.1") + log())

    def test_daemon_without_a_file(self) -> None:
        """A daemon has no standard output to log to: it does not start, as it does not by itself."""
        for line in ((), ("--log-format=json",)):
            self.addCleanup(self.kill)
            ended = self.twistd("--logfile=-", options=line).ended()
            self.assertEqual(Ended(1, "", "Daemons cannot log to stdout, exiting!\n"), ended)
            self.assertEqual([], [name for name in self.left if not name.startswith(".incoming")])

"""The programs as their user meets them: processes, ports, signals, exit codes."""

import hashlib
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from storescp.uids import VERSION
from tests.senders import DATA_SET, Sender, c_store_of, data_set_of, send
from tests.servers import INCOMING, SCRIPT, TWISTD, Ended, Server, ServerTestCase, without

MIB = 1024 * 1024


class ReceiveTests(ServerTestCase):
    def assert_stored(self, *names: str) -> None:
        self.assertEqual(sorted([*INCOMING, *names]), self.left)
        for name in names:
            self.assertEqual(DATA_SET, data_set_of(self.directory / name))

    def test_script(self) -> None:
        """The script stores an instance in the current directory, is silent, and ends on SIGTERM with exit code 0."""
        server = self.serve("0")
        port = server.port
        send(("127.0.0.1", port))
        self.assertEqual(Ended(0, f"storescp: listening on port {port}\n", ""), server.stop(signal.SIGTERM))
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_interrupt(self) -> None:
        """SIGINT ends it just so: no traceback of a KeyboardInterrupt."""
        server = self.serve("0", "-v")
        port = server.port
        send(("127.0.0.1", port))
        log = (
            "I: Association Received\n"
            "I: Association Accepted\n"
            "I: Received Store Request\n"
            "I: Storing DICOM file: CT.1.2.3.4.5.6\n"
            "I: Association Released\n"
        )
        self.assertEqual(Ended(0, f"storescp: listening on port {port}\n", log), server.stop(signal.SIGINT))

    def test_twistd(self) -> None:
        """twistd stores an instance where -od says, logs it, ends on SIGTERM with exit code 0, and leaves no more."""
        (self.directory / "received").mkdir()
        server = self.serve("--port", "0", "-v", "-od", "received", command=TWISTD)
        send(server.address)
        ended = server.stop(signal.SIGTERM)
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        self.assertEqual(
            [
                "[storescp#info] Association Received",
                "[storescp#info] Association Accepted",
                "[storescp#info] Received Store Request",
                "[storescp#info] Storing DICOM file: CT.1.2.3.4.5.6",
                "[storescp#info] Association Released",
            ],
            re.findall(r"\[storescp#.*", ended.stdout),
        )
        self.assertEqual(
            ["received", "received/.incoming", "received/.incoming/lock", "received/CT.1.2.3.4.5.6"], self.left
        )
        self.assertEqual(DATA_SET, data_set_of(self.directory / "received" / "CT.1.2.3.4.5.6"))

    def test_twistd_interrupt(self) -> None:
        """SIGINT ends twistd with exit code 0 too."""
        server = self.serve("--port", "0", command=TWISTD)
        send(server.address)
        self.assertEqual(0, server.stop(signal.SIGINT).code)
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_several_endpoints(self) -> None:
        """It listens on as many endpoints as it is told, and announces each port."""
        endpoints = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=0.0.0.0")
        server = self.serve(*(f"--listen={endpoint}" for endpoint in endpoints), listening=2)
        one, two = server.ports
        self.assertNotEqual(one, two)
        for port in (one, two):
            send(("127.0.0.1", port))
            (self.directory / "CT.1.2.3.4.5.6").rename(self.directory / f"from {port}")
        self.assertEqual((0, ""), (server.stop().code, server.stderr))
        self.assert_stored(f"from {one}", f"from {two}")

    def test_socket_of_the_file_system(self) -> None:
        """A socket with a name works as a port does, and is taken away at the end."""
        server = self.serve("--listen=tcp:0", "--listen=unix:socket")
        send(os.path.relpath(self.directory / "socket"))
        self.assertEqual((0, ""), (server.stop().code, server.stderr))
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_socket_that_is_gone(self) -> None:
        """It ends in order though somebody has removed its socket."""
        for command in (SCRIPT, TWISTD):
            server = self.serve("--listen=tcp:0", "--listen=unix:socket", command=command)
            send(server.address)  # it runs: signals are handled
            (self.directory / "socket").unlink()
            self.assertEqual(0, server.stop().code)

    def test_ignore(self) -> None:
        """--ignore answers Success and touches nothing."""
        server = self.serve("0", "--ignore")
        send(server.address)
        self.assertEqual(0, server.stop().code)
        self.assertEqual([], self.left)

    def test_memory(self) -> None:
        """An instance of 300 MiB goes to the disk as it comes: memory does not grow with it."""
        if not os.path.exists("/proc/self/status"):
            raise SkipTest("needs /proc")
        self.addCleanup(shutil.rmtree, self.directory)  # it is large
        server = self.serve("0")
        send(server.address)
        before = self.peak(server)
        fragments = [os.urandom(16378)] * (300 * MIB // 16378)
        sender = Sender(server.address)
        sender.send(*c_store_of(fragments, "1.2.3"))
        self.assertEqual(0x0000, sender.status())
        sender.release()
        grown = self.peak(server) - before
        self.assertEqual(0, server.stop().code)
        self.assertLess(grown, 64 * MIB)
        self.assertEqual(self.digest(fragments), self.digest([data_set_of(self.directory / "CT.1.2.3")]))

    def peak(self, server: Server) -> int:
        """The most memory it has had, in bytes."""
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])

    def digest(self, parts: Iterable[bytes]) -> str:
        whole = hashlib.sha256()
        for part in parts:
            whole.update(part)
        return whole.hexdigest()


class BadInputTests(ServerTestCase):
    """One line, an exit code, and nothing left behind."""

    def setUp(self) -> None:
        super().setUp()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.taken: int = taken.getsockname()[1]
        (self.directory / "file").touch()

    def ends(self, lines: Iterable[str], command: Iterable[str]) -> list[Ended]:
        """How each of these lines ends; they run at the same time."""
        programs = [self.run_program(*line.split(), command=tuple(command)) for line in lines]
        return [program.ended() for program in programs]

    def refusals(self) -> dict[str, tuple[int, str]]:
        """The exit code and the message of each bad line."""
        missing, file = self.directory / "missing", self.directory / "file"
        taken = f"tcp:{self.taken}:interface=127.0.0.1"
        return {
            "--port 65536": (2, "argument port: must be from 0 to 65535, not 65536"),
            "--port 0 --bogus": (2, "unrecognized arguments: --bogus"),
            "--port 0 -pdu 100": (2, "argument -pdu/--max-pdu: must be from 4096 to 131072, not 100"),
            "--port 0 -aet 01234567890123456": (2, "argument -aet/--aetitle: must have 1 to 16 characters, not 17"),
            "--listen carrier-pigeon:1": (
                2,
                "argument --listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'",
            ),
            "--port 0 -od missing": (1, f"output directory {missing}: does not exist"),
            "--port 0 -q -od missing": (1, f"output directory {missing}: does not exist"),
            "--port 0 -od file": (1, f"output directory {file}: is not a directory"),
            f"--listen {taken}": (
                1,
                f"{taken}: Couldn't listen on 127.0.0.1:{self.taken}: [Errno 98] Address already in use.",
            ),
        }

    def test_script(self) -> None:
        """The script answers each in one line of its own on standard error."""
        refusals = self.refusals()
        refusals[""] = (2, "give one port to listen on, as in 'storescp 11112', or --listen, not both")
        expected = {
            line: Ended(code, "", f"storescp: error: {message}\n") for line, (code, message) in refusals.items()
        }
        self.assertEqual(expected, dict(zip(refusals, self.ends(refusals, SCRIPT), strict=True)))
        self.assertEqual(["file"], self.left)

    def test_twistd(self) -> None:
        """twistd answers each in its usual form, with the same text and no traceback."""
        refusals = self.refusals()
        for (line, (_, message)), ended in zip(refusals.items(), self.ends(refusals, TWISTD), strict=True):
            last = (ended.stdout + ended.stderr).splitlines()[-1]
            self.assertEqual((1, True), (ended.code, last.endswith(f": {message}")), (line, ended))
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)
        self.assertEqual(["file"], self.left)

    def test_tls_files(self) -> None:
        """A key that cannot be read, or a TLS library that is not there, is told in one line."""
        endpoint = "ssl:0:privateKey=missing.pem:certKey=missing.pem"
        (ended,) = self.ends([f"--listen {endpoint}"], SCRIPT)
        self.assertEqual((1, "", 1), (ended.code, ended.stdout, ended.stderr.count("\n")))
        self.assertTrue(ended.stderr.startswith(f"storescp: error: {endpoint}: "), ended.stderr)
        self.assertEqual(["file"], self.left)

    def test_one_of_several_endpoints(self) -> None:
        """Where one endpoint fails, those that were opened before it leave no more than .incoming and its lock."""
        lines = [f"--listen unix:socket --listen tcp:{self.taken}:interface=127.0.0.1"]
        (ended,) = self.ends(lines, SCRIPT)
        self.assertEqual((1, 1), (ended.code, ended.stderr.count("\n")))
        self.assertEqual([*INCOMING, "file"], self.left)

    def test_directory_that_is_not_writable(self) -> None:
        """A directory that must not be written to is told at the start."""
        locked = self.directory / "locked"
        locked.mkdir(0o555)
        (ended,) = self.ends(["0 -od locked"], without("dac_override"))
        self.assertEqual(Ended(1, "", f"storescp: error: output directory {locked}: is not writable\n"), ended)
        self.assertEqual(["file", "locked"], self.left)

    def test_port_that_is_not_permitted(self) -> None:
        """A port that this user must not take is told with the real cause."""
        first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if not first.exists() or int(first.read_text(encoding="ascii")) <= 1:
            raise SkipTest("everybody may listen on every port here")
        (ended,) = self.ends(["1"], without("net_bind_service"))
        message = "tcp:1: Couldn't listen on any:1: [Errno 13] Permission denied."
        self.assertEqual(Ended(1, "", f"storescp: error: {message}\n"), ended)
        self.assertEqual(["file"], self.left)

    def test_questions(self) -> None:
        """--version and --help are answered on standard output, with exit code 0, by both."""
        for command in (SCRIPT, TWISTD):
            version, text = self.ends(["--version", "--help"], command)
            self.assertEqual(Ended(0, f"storescp {VERSION}\n", ""), version)
            self.assertEqual((0, ""), (text.code, text.stderr))
            self.assertIn("--output-directory", text.stdout)
        self.assertEqual(["file"], self.left)

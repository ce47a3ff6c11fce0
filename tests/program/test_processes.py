"""The programs as their user meets them: processes, ports, signals, exit codes."""

import hashlib
import os
import re
import shutil
import signal
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.uids import VERSION
from tests.program import make_directory
from tests.servers import SCRIPT, TWISTD, Ended, Program, Server, wait_until

# (0008,0016) UI CT Image Storage, (0008,0018) UI 1.2.3.4.5.6 in Explicit VR Little Endian
DATA_SET = (
    bytes.fromhex("0800 1600 5549 1a00")
    + b"1.2.840.10008.5.1.4.1.1.2\0"
    + bytes.fromhex("0800 1800 5549 0c00")
    + b"1.2.3.4.5.6\0"
)
META_LENGTH_END = 144  # of a file: preamble, DICM, and (0002,0000) with its value

MIB = 1024 * 1024


def item(item_type: int, body: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(body)) + body


ASSOCIATE_RQ_BODY = (
    bytes.fromhex("0001 0000")
    + b"STORESCP        TESTSCU         "
    + bytes(32)
    + item(0x10, b"1.2.840.10008.3.1.1.1")
    + item(
        0x20,
        bytes.fromhex("01 00 00 00") + item(0x30, b"1.2.840.10008.5.1.4.1.1.2") + item(0x40, b"1.2.840.10008.1.2.1"),
    )
    + item(0x50, item(0x51, bytes.fromhex("00004000")))
)
ASSOCIATE_RQ = struct.pack(">BxI", 0x01, len(ASSOCIATE_RQ_BODY)) + ASSOCIATE_RQ_BODY
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")
RELEASE_RP = bytes.fromhex("06 00 00000004 00000000")
ABORT_BY_USER = bytes.fromhex("07 00 00000004 0000 00 00")

# C-STORE-RQ, message 1, priority medium, of CT Image Storage 1.2.3.4.5.6
COMMAND = (
    bytes.fromhex("0000 0000 04000000 5e000000 0000 0200 1a000000")
    + b"1.2.840.10008.5.1.4.1.1.2\0"
    + bytes.fromhex(
        "0000 0001 02000000 0100  0000 1001 02000000 0100  0000 0007 02000000 0000  0000 0008 02000000 0000"
        "0000 0010 0c000000"
    )
    + b"1.2.3.4.5.6\0"
)
SUCCESS = bytes.fromhex("0000 0009 02000000 0000")  # (0000,0900) US 0000H


def p_data_tf(control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one PDV of context 1."""
    return struct.pack(">BxIIBB", 0x04, len(fragment) + 6, len(fragment) + 2, 1, control) + fragment


class Sender:
    """A peer that knows just enough to send one CT image."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._socket.settimeout(30)
        self._socket.connect(address)
        self._socket.sendall(ASSOCIATE_RQ)
        assert self.receive()[0] == 0x02, "not accepted"

    def receive(self) -> bytes:
        """The next PDU, or nothing where the connection is closed."""
        header = self._socket.recv(6, socket.MSG_WAITALL)
        length = int.from_bytes(header[2:6], "big")
        return header + (self._socket.recv(length, socket.MSG_WAITALL) if length else b"")

    def begin(self) -> None:
        """The C-STORE request, and a fragment that is not the last."""
        self._socket.sendall(p_data_tf(3, COMMAND) + p_data_tf(0, DATA_SET[:10]))

    def store(self, fragments: Iterable[bytes]) -> None:
        """The C-STORE request and its data set; returns when it is answered with Success."""
        self._socket.sendall(p_data_tf(3, COMMAND))
        for fragment in fragments:
            self._socket.sendall(p_data_tf(0, fragment))
        self._socket.sendall(p_data_tf(2, b""))
        response = self.receive()
        assert SUCCESS in response, response.hex()

    def release(self) -> None:
        self._socket.sendall(RELEASE_RQ)
        assert self.receive() == RELEASE_RP
        self.close()

    def close(self) -> None:
        self._socket.close()


def send(address: tuple[str, int] | str) -> None:
    """One association with one instance."""
    sender = Sender(address)
    sender.store([DATA_SET])
    sender.release()


def data_set_of(path: Path) -> bytes:
    """What follows the File Meta Information of a file."""
    content = path.read_bytes()
    return content[META_LENGTH_END + int.from_bytes(content[140:144], "little") :]


class ProcessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(make_directory(self))

    def serve(self, *arguments: str, twistd: bool = False, listening: int = 1) -> Server:
        command = TWISTD if twistd else SCRIPT
        server = Server(*arguments, directory=str(self.directory), command=command, listening=listening)
        self.addCleanup(server.kill)
        return server

    @property
    def left(self) -> list[str]:
        """All that is in the directory, also below it."""
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*"))


class ReceiveTests(ProcessTestCase):
    def assert_stored(self, *names: str) -> None:
        self.assertEqual(sorted([".incoming", *names]), self.left)
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
        server = self.serve("--port", "0", "-v", "-od", "received", twistd=True)
        send(("127.0.0.1", server.port))
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
        self.assertEqual(["received", "received/.incoming", "received/CT.1.2.3.4.5.6"], self.left)
        self.assertEqual(DATA_SET, data_set_of(self.directory / "received" / "CT.1.2.3.4.5.6"))

    def test_twistd_interrupt(self) -> None:
        """SIGINT ends twistd with exit code 0 too."""
        server = self.serve("--port", "0", twistd=True)
        send(("127.0.0.1", server.port))
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

    def test_ignore(self) -> None:
        """--ignore answers Success and touches nothing."""
        server = self.serve("0", "--ignore")
        send(("127.0.0.1", server.port))
        self.assertEqual(0, server.stop().code)
        self.assertEqual([], self.left)

    def test_memory(self) -> None:
        """An instance of 300 MiB goes to the disk as it comes: memory does not grow with it."""
        if not os.path.exists("/proc/self/status"):
            raise SkipTest("needs /proc")
        self.addCleanup(shutil.rmtree, self.directory)  # it is large
        server = self.serve("0")
        send(("127.0.0.1", server.port))
        before = self.peak(server)
        fragments = [os.urandom(16378)] * (300 * MIB // 16378)
        sender = Sender(("127.0.0.1", server.port))
        sender.store(fragments)
        sender.release()
        grown = self.peak(server) - before
        self.assertEqual(0, server.stop().code)
        self.assertLess(grown, 64 * MIB)
        (large,) = (path for path in self.directory.iterdir() if ".dup-" in path.name)
        self.assertEqual(self.digest(fragments), self.digest([data_set_of(large)]))

    def peak(self, server: Server) -> int:
        """The most memory it has had, in bytes."""
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])

    def digest(self, parts: Iterable[bytes]) -> str:
        whole = hashlib.sha256()
        for part in parts:
            whole.update(part)
        return whole.hexdigest()


class StopTests(ProcessTestCase):
    def test_open_association(self) -> None:
        """A peer that has nothing under way is told by an A-ABORT, and nothing is cut off."""
        server = self.serve("0")
        sender = Sender(("127.0.0.1", server.port))
        self.addCleanup(sender.close)
        ended = server.stop()
        self.assertEqual((0, "E: Association Aborted: this server stops\n"), (ended.code, ended.stderr))
        self.assertEqual([ABORT_BY_USER, b""], [sender.receive(), sender.receive()])

    def test_instance_under_way(self) -> None:
        """An instance that is cut off leaves nothing behind, and the exit code says that there was one."""
        server = self.serve("0", "-v")
        sender = Sender(("127.0.0.1", server.port))
        self.addCleanup(sender.close)
        sender.begin()
        wait_until(lambda: "Storing DICOM file" in server.stderr, "the beginning of the instance")
        ended = server.stop()
        self.assertEqual(1, ended.code)
        self.assertEqual("E: Association Aborted: this server stops", ended.stderr.splitlines()[-1])
        self.assertEqual([".incoming"], self.left)
        self.assertEqual(ABORT_BY_USER, sender.receive())

    def test_connection_without_association(self) -> None:
        """A connection on which nothing was said does not keep it."""
        server = self.serve("0")
        with socket.create_connection(("127.0.0.1", server.port)) as silent:
            host, port = silent.getsockname()
            send(("127.0.0.1", server.port))  # connections are accepted in their order
            ended = server.stop()
            self.assertEqual(b"", silent.recv(1))
        warning = f"W: Connection from {host}:{port} ended without an association: this server stops\n"
        self.assertEqual((0, warning), (ended.code, ended.stderr))


class BadInputTests(ProcessTestCase):
    """One line, an exit code, and nothing left behind."""

    def setUp(self) -> None:
        super().setUp()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.taken: int = taken.getsockname()[1]
        (self.directory / "file").touch()

    def ends(self, lines: Iterable[str], command: Iterable[str]) -> list[Ended]:
        """How each of these lines ends; they run at the same time."""
        programs = [Program(*line.split(), directory=str(self.directory), command=tuple(command)) for line in lines]
        for program in programs:
            self.addCleanup(program.kill)
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
        """Where one endpoint fails, those that were opened before it leave no more than an empty .incoming."""
        lines = [f"--listen unix:socket --listen tcp:{self.taken}:interface=127.0.0.1"]
        (ended,) = self.ends(lines, SCRIPT)
        self.assertEqual((1, 1), (ended.code, ended.stderr.count("\n")))
        self.assertEqual([".incoming", "file"], self.left)

    def without(self, capability: str) -> tuple[str, ...]:
        """The script without a privilege that root would have."""
        if os.geteuid():
            return SCRIPT
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise SkipTest("root may do everything, and there is no setpriv to change that")
        return (setpriv, f"--bounding-set=-{capability}", f"--inh-caps=-{capability}", *SCRIPT)

    def test_directory_that_is_not_writable(self) -> None:
        """A directory that must not be written to is told at the start."""
        locked = self.directory / "locked"
        locked.mkdir(0o555)
        (ended,) = self.ends(["0 -od locked"], self.without("dac_override"))
        self.assertEqual(Ended(1, "", f"storescp: error: output directory {locked}: is not writable\n"), ended)
        self.assertEqual(["file", "locked"], self.left)

    def test_port_that_is_not_permitted(self) -> None:
        """A port that this user must not take is told with the real cause."""
        first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if not first.exists() or int(first.read_text(encoding="ascii")) <= 1:
            raise SkipTest("everybody may listen on every port here")
        (ended,) = self.ends(["1"], self.without("net_bind_service"))
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
